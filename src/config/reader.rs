//! Deserializes a tree, and reports every invalid value of it.
//!
//! # Why
//!
//! Serde stops at the first error, and an operator would start a sidecar once per mistake. So an invalid value is reported
//! and removed, and the tree is deserialized again, until what is left is valid: every setting has a default, so it ends.
//!
//! Serde's own messages repeat values ("unknown variant `EAA…`") and lose lines where a table is one of several kinds
//! ("did not match any variant"). [`ReadError`] words all of them itself, and a table of several kinds is told apart here,
//! by the key that only one kind has: the kind's own shape then says what is wrong with it.

use std::path::Path;

use serde::de::value::{SeqAccessDeserializer, StrDeserializer, StringDeserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error, Expected, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::error::{Provenance, SECRET_IN_CONFIG, SECRET_REF, is_token};
use super::read_error::{Problem, ReadError};
use super::rules::{ONE_OR_MANY, PATH};
use super::tree::{Node, Step, Value};

/// Deserializes a tree. Every invalid value is removed from it and given to `report`, with its path.
pub(super) fn read<T: DeserializeOwned + Default>(
    tree: &mut Node,
    mut report: impl FnMut(&Node, &[Step], Problem),
) -> T {
    loop {
        let error = match T::deserialize(Reader { node: tree, depth: 0 }) {
            Ok(value) => return value,
            Err(error) => error,
        };
        let path: Vec<Step> = error.path.into_iter().rev().collect();
        let node = path.iter().try_fold(&*tree, |node, step| node.child(step));
        // A table that lost an invalid value may lack just that one.
        if node.is_none_or(|node| !node.is_incomplete) {
            report(tree, &path, error.problem);
        }
        if path.is_empty() {
            return T::default();
        }
        tree.remove(&path);
    }
}

/// A value, and how many keys lead to it.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    depth: usize,
}

/// The depth of a setting, `section.key`.
const SETTING: usize = 2;
/// The name of an enum whose variants are the kinds of a table, each with a key that is its own.
const KEYED: &str = "keyed";
const REFERENCE: &str = "SecretKeys";

impl<'a> Reader<'a> {
    fn below(self, node: &'a Node) -> Self {
        Self {
            node,
            depth: self.depth + 1,
        }
    }

    /// The error for a value of another type than expected.
    fn mismatch(self, expected: &dyn Expected) -> ReadError {
        if self.node.text().is_some_and(is_token) {
            return ReadError::custom(SECRET_IN_CONFIG);
        }
        ReadError::custom(format!("must be {expected}, not {}", self.node.value.kind()))
    }

    fn text(self) -> Result<&'a str, ReadError> {
        let text = self.node.text().ok_or_else(|| self.mismatch(&"a quoted string"))?;
        if is_token(text) {
            return Err(ReadError::custom(SECRET_IN_CONFIG));
        }
        Ok(text)
    }

    fn visit_entries<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if !matches!(self.node.value, Value::Table(_)) {
            return Err(self.mismatch(&visitor));
        }
        visitor.visit_map(Entries {
            entries: self.node.entries().iter(),
            value: None,
            reader: self,
        })
    }

    /// The enum's variant whose key the table has.
    fn kind(self, kinds: &'static [&'static str], expected: &dyn Expected) -> Result<Kind<'a>, ReadError> {
        if !matches!(self.node.value, Value::Table(_)) {
            return Err(self.mismatch(expected));
        }
        let here: Vec<_> = kinds.iter().filter(|kind| self.node.get(kind).is_some()).collect();
        match here.as_slice() {
            [kind] => Ok(Kind { reader: self, kind }),
            [] => {
                let problem = Problem::UnknownKind(kinds, format!("must be {expected}"));
                Err(ReadError::from(problem))
            }
            [one, other, ..] => Err(ReadError::custom(format!(
                "has both `{one}` and `{other}`, but has one kind; must be {expected}"
            ))),
        }
    }
}

impl<'de> Deserializer<'de> for Reader<'_> {
    type Error = ReadError;

    forward_to_deserialize_any! {
        i8 i16 i32 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map
        identifier ignored_any
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.node.value {
            Value::Text(_) | Value::Variable(_) => visitor.visit_str(self.text()?),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Boolean(on) => visitor.visit_bool(*on),
            Value::List(_) => self.deserialize_seq(visitor),
            Value::Table(_) => self.visit_entries(visitor),
            Value::Float | Value::Date => Err(self.mismatch(&visitor)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Value::Variable(text) = &self.node.value {
            let parsed = text
                .parse()
                .map_err(|_invalid| ReadError::custom("must be true or false"));
            return visitor.visit_bool(parsed?);
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        if let Value::Variable(text) = &self.node.value {
            let parsed = text.parse().map_err(|_invalid| ReadError::custom("must be an integer"));
            return visitor.visit_i64(parsed?);
        }
        if let Value::Integer(number) = self.node.value {
            return visitor.visit_i64(number);
        }
        Err(self.mismatch(&"an integer (unquoted)"))
    }

    /// A setting that may be left out may also be `""` or `{}`.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let is_table = matches!(self.node.value, Value::Table(_)) && !self.node.is_incomplete;
        let is_empty = self.node.text() == Some("") || (is_table && self.node.entries().is_empty());
        if self.depth == SETTING && is_empty {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match (name, &self.node.value, &self.node.provenance) {
            (ONE_OR_MANY, Value::List(_) | Value::Variable(_), _) => visitor.visit_newtype_struct(self),
            (ONE_OR_MANY, ..) => visitor.visit_newtype_struct(SeqAccessDeserializer::new(Single(Some(self)))),
            (PATH, Value::Text(text), Provenance::File { path: file, .. }) if !text.is_empty() && !is_token(text) => {
                let path = file.parent().unwrap_or_else(|| Path::new("")).join(text);
                let path: StringDeserializer<ReadError> = path.to_string_lossy().into_owned().into_deserializer();
                visitor.visit_newtype_struct(path)
            }
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let item = |item: &str| Node::new(&self.node.provenance, Value::Variable(item.trim().to_owned()));
        let items = if let Value::List(items) = &self.node.value {
            items.clone()
        } else if let Value::Variable(text) = &self.node.value {
            text.split(',').map(item).collect()
        } else {
            return Err(self.mismatch(&"a list, [\"…\", \"…\"]"));
        };
        visitor.visit_seq(Items {
            items: items.into_iter().enumerate(),
            depth: self.depth,
        })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == REFERENCE && self.node.text().is_some() {
            let message = "secrets must not appear in the configuration file (value not shown): must be";
            return Err(ReadError::custom(format!("{message} {SECRET_REF}")));
        }
        self.visit_entries(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        if name == KEYED {
            let kind = self.kind(variants, &visitor)?;
            return visitor.visit_enum(kind);
        }
        match self.node.text() {
            Some(_) => visitor.visit_enum(StrDeserializer::new(self.text()?)),
            None => Err(self.mismatch(&format!("one of \"{}\"", variants.join("\", \"")).as_str())),
        }
    }
}

/// One value in the place of a list.
struct Single<'a>(Option<Reader<'a>>);

impl<'de> SeqAccess<'de> for Single<'_> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        self.0.take().map(|reader| seed.deserialize(reader)).transpose()
    }
}

/// The items of a list.
struct Items {
    items: std::iter::Enumerate<std::vec::IntoIter<Node>>,
    depth: usize,
}

impl<'de> SeqAccess<'de> for Items {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let reader = Reader {
            node: &node,
            depth: self.depth + 1,
        };
        seed.deserialize(reader)
            .map(Some)
            .map_err(|error| error.below(Step::Item(index)))
    }
}

/// The entries of a table.
struct Entries<'a> {
    entries: std::slice::Iter<'a, (String, Node)>,
    value: Option<&'a (String, Node)>,
    reader: Reader<'a>,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.value = self.entries.next();
        let Some((key, _)) = self.value else {
            return Ok(None);
        };
        let read = seed.deserialize(StrDeserializer::<ReadError>::new(key));
        read.map(Some).map_err(|error| error.below(Step::Key(key.clone())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, node) = self.value.take().ok_or_else(|| ReadError::custom("is missing"))?;
        let read = seed.deserialize(self.reader.below(node));
        read.map_err(|error| error.below(Step::Key(key.clone())))
    }
}

/// A table of several kinds, of which it is this one.
struct Kind<'a> {
    reader: Reader<'a>,
    kind: &'static &'static str,
}

impl<'de> EnumAccess<'de> for Kind<'_> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let variant = seed.deserialize(StrDeserializer::<ReadError>::new(self.kind))?;
        Ok((variant, self))
    }
}

impl<'de> VariantAccess<'de> for Kind<'_> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        Err(self.reader.mismatch(&"a table"))
    }

    /// The kind's shape has its key among others: it is the whole table's.
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        if self.reader.node.get("key").is_some() && self.reader.node.get("pointer").is_some() {
            let message = "has both `key` (KEY=value lines) and `pointer` (JSON); remove one";
            return Err(ReadError::custom(message));
        }
        seed.deserialize(self.reader)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, ReadError> {
        Err(self.reader.mismatch(&visitor))
    }

    /// The kind's shape is that of the table which its key is given.
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let mut value = self.reader;
        for (key, node) in self.reader.node.entries() {
            if key != self.kind {
                let error = ReadError::from(Problem::UnknownKey(std::slice::from_ref(self.kind)));
                return Err(error.below(Step::Key(key.clone())));
            }
            value = self.reader.below(node);
        }
        let read = match (&value.node.value, fields) {
            (Value::Table(_), _) => value.visit_entries(visitor),
            (_, []) => Err(value.mismatch(&"{}")),
            (_, fields) => Err(value.mismatch(&format!("{{ {} = … }}", fields.join(" = …, ")).as_str())),
        };
        read.map_err(|error| error.below(Step::Key((*self.kind).to_owned())))
    }
}
