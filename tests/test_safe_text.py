"""What leaves the process: secrets are hidden, and no character acts on a terminal or a page."""

from __future__ import annotations

import doctest
import unicodedata
from base64 import b64encode
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlflow_recall import safe_text as module
from mlflow_recall.safe_text import (
    escape_markdown,
    redact,
    safe_data,
    safe_line,
    safe_note,
    safe_text,
)

BLANKS = "".join(map(chr, (*range(33), 127, *range(128, 161), 0x2028, 0x2029)))
PASSWORDS = st.text(
    st.characters(exclude_characters=BLANKS + "\"'<>", exclude_categories=["Cs", "Z"]), min_size=1
)


def test_the_examples_hold() -> None:
    """They are what a reader of the code relies on."""
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("address", ["http://{}@host/x", "http://me:{}@host/x", "https://:{}@h"])
@settings(max_examples=25)
@given(password=PASSWORDS)
def test_a_password_in_an_address_is_hidden_whatever_its_characters(
    address: str, password: str
) -> None:
    """A slash or an at sign in a password ends neither it nor what is hidden."""
    marked = f"Q7{password}Q7"

    assert "Q7" not in redact(f"cannot reach {address.format(marked)}: no answer")


@pytest.mark.parametrize(
    "text",
    [
        "https://host/a?x=1&token=HUSH",
        "https://bucket/a?X-Amz-Signature=HUSH&X-Amz-Credential=HUSH",
        "https://account.blob/a?sv=1&sig=HUSH",
        "https://host/a?api_key=HUSH#top",
        "mssql+pyodbc:///?odbc_connect=DRIVER=x;PWD=HUSH;UID=me",
        "Authorization: Basic HUSH",
        "headers {'Authorization': 'Bearer HUSH'}",
        "connect(user='me', password='HUSH')",
        "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=HUSH==;",
    ],
)
def test_a_named_secret_is_hidden(text: str) -> None:
    """Messages of other libraries quote addresses, headers and keywords."""
    assert "HUSH" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "hf:/org/name@main",
        "models:/reviews@champion",
        "http://127.0.0.1:5000: expected a tracking server",
        "sqlite:////home/me/mlflow.db",
        "abfss://container@account.dfs.core.windows.net/path",
        "max_tokens=48, key=5 and tokenizer=words",
        "expected a pad token: got none",
        "tags.team = 'x'",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """A message that hides the cause helps nobody."""
    assert redact(text) == text


@pytest.mark.parametrize("variable", ["MLFLOW_TRACKING_PASSWORD", "HF_TOKEN", "MY_API_KEY"])
def test_the_value_of_a_secret_variable_is_hidden(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A library may quote a password by itself, or as an address holds it."""
    monkeypatch.setenv(variable, "pa/ss w0rd")

    assert redact(f"got 'pa/ss w0rd', {quote('pa/ss w0rd', safe='')}") == "got '***', ***"


def test_the_header_of_basic_authentication_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no more than the password in other letters."""
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hush")

    assert redact(f"sent {b64encode(b'me:hush').decode()}") == "sent ***"


def test_a_password_of_the_tracking_address_is_hidden_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It may have blanks, which end an address in a text but not in a variable."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:two words1@host")

    assert redact("denied: two words1") == "denied: ***"


@settings(max_examples=25)
@given(st.text())
def test_no_acting_character_is_left(text: str) -> None:
    """Cursor movements, overrides of direction and lone surrogates stay in the process."""
    left = {unicodedata.category(c) for c in safe_text(text)} & {"Cc", "Cs", "Zl", "Zp"}

    assert left <= {"Cc"}
    assert not any(unicodedata.category(c) == "Cc" for c in safe_text(text) if c not in "\n\t")
    assert "\n" not in safe_line(text)
    safe_text(text).encode()


@pytest.mark.parametrize("character", ["\x1b", "\u202e", "\u2066", "\x9b", "\u200b", "\U000e0041"])
def test_an_acting_character_is_shown_as_its_escape(character: str) -> None:
    """A reader sees that it is there."""
    assert safe_line(f"a{character}b") == f"a{character.encode('unicode_escape').decode()}b"


@settings(max_examples=25)
@given(st.text())
def test_a_second_pass_changes_nothing(text: str) -> None:
    """An exit may lie behind another one."""
    assert redact(redact(text)) == redact(text)
    assert safe_text(safe_text(text)) == safe_text(text)


@pytest.mark.parametrize(
    "name", ["<img src=x onerror=alert(1)>", "![x](http://host/x.png)", "[x](javascript:0)", "`|*"]
)
def test_no_name_is_markup_of_a_note(name: str) -> None:
    """A picture or a link in a name would be fetched by whoever looks at the run."""
    escaped = escape_markdown(name)

    assert "<" not in safe_note(escaped)
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in "[]`|*")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["x", "a.", "://", "?", "&a", "token", "@", "x://", "\x1b", " "])
def test_a_text_of_any_kind_takes_time_in_proportion_to_its_length(part: str) -> None:
    """The message of a library may quote a whole file: quadratic time would be minutes here."""
    assert len(safe_text(part * 300_000)) >= 300_000


def test_data_for_machines_is_redacted_at_any_depth() -> None:
    """Lists, mappings and their keys are printed as one JSON object."""
    data = {"http://a:b@h": ["http://a:b@h", {"x": "http://a:b@h", "y": 1.5}]}

    assert safe_data(data) == {"http://***@h": ["http://***@h", {"x": "http://***@h", "y": 1.5}]}
