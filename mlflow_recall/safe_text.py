"""Text that may leave the process: without secrets, and without characters that act.

Every exit (the terminal, JSON for machines, and tags, parameters, notes and artifacts of runs)
passes its text through one of these functions. Nothing else decides what a secret is.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

_HIDDEN = "***"
#: part of a text that may be an address: a password in it may hold any other characters
_WORD = re.compile(r"[^\s\"'<>]+")
_SCHEME = re.compile(r"[a-zA-Z][\w+.-]{0,30}$", re.ASCII)
#: stores whose addresses have a container before the ``@``
_WITH_CONTAINER = ("abfs", "abfss", "wasb", "wasbs")
#: value of a query, an environment or a keyword whose name says that it is secret
_NAMED_VALUE = re.compile(
    r"(?P<name>(?:token|secret|passw(?:or)?d|passphrase|pwd|api[_-]?key|access[_-]?key"
    r"|accountkey|signature|credentials?)[\"']?=[\"']?)(?P<value>[^\s&;,\"'<>)\]}]+)",
    re.IGNORECASE,
)
#: value of a query whose name is secret there alone
_QUERY_VALUE = re.compile(
    r"(?P<name>[?&;](?:[\w.-]{0,40}[_.-])?(?:key|sig|auth|pw|pass|code|sas|jwt)=)"
    r"(?P<value>[^\s&;\"'<>]+)",
    re.IGNORECASE | re.ASCII,
)
#: header, in any notation
_HEADER = re.compile(
    r"(?P<name>\bauthorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?)(?P<value>(?:[a-z]+\s+)?[^\s\"',}]+)",
    re.IGNORECASE,
)
#: tokens that tell what they are
_TOKEN = re.compile(
    r"\b(?P<name>)(?P<value>hf_[A-Za-z0-9]{16,}|gh[opsur]_[A-Za-z0-9]{16,}|dapi[0-9a-f]{24,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}|(?<=Bearer )[\w.~+/=-]{8,})",
    re.ASCII,
)
_PATTERNS = (_NAMED_VALUE, _QUERY_VALUE, _HEADER, _TOKEN)
#: variables whose values are secrets
_SECRET_VARIABLES = re.compile(
    r"(PASSWORD|PASSWD|TOKEN|SECRET|SECRET_KEY|ACCESS_KEY|ACCESS_KEY_ID|API_KEY|CONNECTION_STRING)$"
)
#: variables whose values are addresses that may hold a password
_ADDRESS_VARIABLES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI", "HTTP_PROXY", "HTTPS_PROXY")
#: a shorter secret of letters alone may be any word of a message
_MIN_WORD, _MIN_SECRET = 8, 4
#: characters that move the cursor, change the order of others or cannot be seen
_ACTING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
#: blanks that are no space, such as line breaks
_LINE_BREAKS = re.compile(r"[^\S ]+")
#: characters that Markdown or HTML reads as markup; an underscore inside a word is none
_MARKUP = re.compile(r"[\\`*\[\]<>&|~]|(?<![^\W_])_|_(?![^\W_])")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def redact(text: str) -> str:
    """Return a text without passwords, tokens and keys.

    Example:
        >>> redact("http://me:secret@host/x?token=abc gave no answer")
        'http://***@host/x?token=*** gave no answer'
    """
    for secret in sorted(_known_secrets(os.environ), key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    if "@" in text:
        text = _WORD.sub(_hide_user, text)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<name>{_HIDDEN}", text)
    return text


def safe_text(text: str) -> str:
    """Return a text of one or more lines without secrets and acting characters."""
    return _ACTING.sub(_show, redact(text.replace("\r\n", "\n")))


def safe_line(text: str) -> str:
    r"""Return a text as one line without secrets and acting characters.

    Example:
        >>> safe_line("model \x1b[2Jx:\nno weights")
        'model \\x1b[2Jx: no weights'
    """
    return safe_text(_LINE_BREAKS.sub(" ", text))


def safe_data(value: Any) -> Any:
    """Return nested data without secrets; acting characters stay, as data is for machines."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(str(key)): safe_data(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [safe_data(entry) for entry in value]
    return value


def escape_markdown(text: object) -> str:
    r"""Return a name or message as Markdown shows it: nothing in it is markup, and it is one line.

    Example:
        >>> escape_markdown("<b>x|y</b>")
        '&lt;b&gt;x\\|y&lt;/b&gt;'
    """
    return _MARKUP.sub(lambda match: _ENTITIES.get(match[0], f"\\{match[0]}"), safe_line(str(text)))


def safe_note(markdown: str) -> str:
    """Return a Markdown text without secrets, acting characters and HTML."""
    return safe_text(markdown).replace("<", _ENTITIES["<"])


def _hide_user(match: re.Match[str]) -> str:
    """Return a word without what stands between ``://`` and the last ``@``."""
    start, _, rest = match[0].partition("://")
    user, sign, host = rest.rpartition("@")
    scheme = _SCHEME.search(start)
    if not sign or scheme is None:
        return match[0]
    if scheme[0].lower() in _WITH_CONTAINER and not re.search("[:/]", user):
        return match[0]
    return f"{start}://{_HIDDEN}@{host}"


def _show(match: re.Match[str]) -> str:
    """Return an acting character as its escape sequence."""
    return match[0].encode("unicode_escape").decode("ascii")


def _known_secrets(environment: Mapping[str, str]) -> Iterator[str]:
    """Yield the secrets of an environment, as they are and as requests and addresses hold them."""
    passwords = {
        value for name, value in environment.items() if _SECRET_VARIABLES.search(name.upper())
    }
    for name in _ADDRESS_VARIABLES:
        address = environment.get(name, "") or environment.get(name.lower(), "")
        user_info = address.partition("://")[2].rpartition("@")[0]
        passwords |= {user_info.partition(":")[2], unquote(user_info.partition(":")[2])}
    for password in passwords:
        shortest = _MIN_WORD if password.isalpha() else _MIN_SECRET
        if len(password) >= shortest:
            yield from {password, quote(password, safe="")}
    user, password = (
        environment.get(f"MLFLOW_TRACKING_{part}", "") for part in ("USERNAME", "PASSWORD")
    )
    if user and password:
        yield b64encode(f"{user}:{password}".encode()).decode()
