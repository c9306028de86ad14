"""YAML as people write it: keys in their order, nothing folded, texts of several lines as blocks."""

from __future__ import annotations

from typing import Any

import yaml  # type: ignore[import-untyped]

# Nothing is folded: a query or a sentence on one line can be searched for
WIDTH = 10_000


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]  # the library has no types
    """Indents lists below their key, and writes texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        """As the library calls it; lists are always indented."""
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(document: dict[str, Any], heading: str = "") -> str:
    r"""A document of plain values as YAML.

    Args:
        document: of dicts, lists, texts, numbers and truth values.
        heading: lines of a comment above it, without their ``#``.

    Example:
        >>> print(to_yaml({"groups": [{"name": "a", "expr": "b\n> 1\n"}]}, "Made by hand"), end="")
        # Made by hand
        groups:
          - name: a
            expr: |
              b
              > 1
    """
    comment = "".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())
    body: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)
    return comment + body


def from_yaml(text: str) -> Any:
    """What a YAML text says, in plain values.

    Raises:
        yaml.YAMLError: it is none.
    """
    return yaml.safe_load(text)
