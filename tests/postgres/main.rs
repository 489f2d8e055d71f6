//! A token in PostgreSQL, against real servers: what is read, what is heard, what is written, and who may mint.

#[cfg(test)]
mod deposits;
#[cfg(test)]
mod news;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod server;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
