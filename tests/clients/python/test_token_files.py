"""The loaders and the encryption of Python apps read a file as graphward's own tests say that they do."""

import io
import json
import pathlib
import subprocess

import dotenv
import pytest
from cryptography.fernet import Fernet, InvalidToken
from harness import BINARY, TIMEOUT

CORPORA = pathlib.Path(__file__).parents[1]


def corpus(name):
    cases = json.loads((CORPORA / name).read_text())
    assert len(cases) > 10
    return pytest.mark.parametrize("case", cases, ids=[case["name"] for case in cases])


@corpus("env-files.json")
def test_python_dotenv_reads_as_the_corpus_says(case, monkeypatch):
    monkeypatch.delenv("META", raising=False)
    monkeypatch.delenv("META_TOKEN", raising=False)
    values = dotenv.dotenv_values(stream=io.StringIO(case["file"], newline=""))
    assert values.get("WHATSAPP_TOKEN") == case["python"]


@corpus("fernet.json")
def test_cryptography_reads_as_the_corpus_says(case):
    try:
        text = Fernet(case["key"]).decrypt(case["text"]).decode()
    except (InvalidToken, ValueError):
        text = None
    assert text == case["python"]


def test_cryptography_uses_a_key_of_keygen_and_decrypts_what_seal_encrypts(tmp_path):
    def token(*arguments, stdin=""):
        command = [BINARY, "token", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, timeout=TIMEOUT).stdout

    key = token("keygen").strip()
    (tmp_path / "key").write_text(key)
    sealed = token("seal", f"--key-file={tmp_path}/key", stdin="EAAGm0PX4ZCpsBAKZAtoken0123\n")
    assert Fernet(key).decrypt(sealed.strip()) == b"EAAGm0PX4ZCpsBAKZAtoken0123"
