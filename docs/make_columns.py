"""Write the reference of columns from the schema, and of status flags.

    python docs/make_columns.py

One section a table, one row and one anchor a column; ``tests/test_columns_page.py`` says
when ``docs/columns.md`` is no longer what this makes.
"""

from pathlib import Path

from steadystar.data import schema
from steadystar.data.status import FATAL, SENTENCES, Status

PAGE = Path(__file__).with_name("columns.md")

TABLES = {
    "velocities": "`velocities.parquet`: one row a spectrum and method. What was measured, "
    "and what calibration made of it.",
    "labels": "`labels.parquet`: one row a fit of labels, to an arm of an exposure or (arm "
    "`all`) to all its arms at once.",
    "stars": "`stars.parquet`: one row a star. A cross-match adds `NAME_id`, "
    "`NAME_separation` and the columns that it brings along, as `NAME_column`, with their "
    "units.",
    "offsets": "`offsets-FAMILY.parquet`: one row a zero point. Before these columns come "
    "those of the family itself, in their own dtypes.",
    "compare": "Of `steadystar compare`: one row a star that both catalogs have. A quantity "
    "is `NAME_a` in the first and `NAME_b` in the second.",
    "distances": "`distances.parquet`, of `steadystar distances`: the rows and columns of "
    "the table that was given, and what was found.",
    "hot": "`hot.parquet`, of `steadystar hot`: one row a spectrum of a hot star, in the "
    "columns of Xiang et al. (2021) and more.",
    "budget": "`budget.parquet`, of `steadystar hot`: one row a sample of the posterior of "
    "the magnitudes' errors.",
    "composites": "`composites.parquet`, of `steadystar hot`: one row a pair whose spectrum "
    "was made of two single ones.",
    "variables": "`variables.parquet`, of `steadystar variables`, `orbits` and `run`: one "
    "row a star, constant or variable, and what kind of variable.",
    "periods": "`periods.parquet`, of `steadystar variables` and `run`: one row a peak of a "
    "star's periodogram.",
    "orbits": "`orbits.parquet`, of `steadystar orbits` and `run`: one row a star, medians "
    "and limits of the samples of its orbit.",
    "orbit-samples": "`orbit-samples.parquet`, of `steadystar orbits` and `run`: one row a "
    "sample of the posterior. Offsets of arms and instruments follow, a column each.",
    "orbit-modes": "`orbit-modes.parquet`, of `steadystar orbits`: one row a mode of a "
    "star's samples, a range of periods that its velocities allow.",
    "rejected": "`rejected.parquet`: one row a file, or part of one, that could not be "
    "read.",
    "visits": "One row a spectrum, before anything is measured: in memory, and in shards.",
    "relative": "The export of relative velocities: one row a star and exposure, in the "
    "layout of Xiong et al. (2021).",
    "standards": "`standards.parquet` and `standards-groups.parquet`, of a comparison with "
    "standards: matches star by star, then groups. Each of the two has those columns that "
    "concern it.",
}
"""The first sentence on each table, in the order of the page."""

START = """\
# Columns

<!-- Made by `python docs/make_columns.py` from `schema.py` and `status.py` in `steadystar/data`. -->

Every column of every table: this page is made from the same list that the readers, the
catalogs and the report take their columns from. Each column has an anchor of its own,
`columns.md#TABLE-COLUMN` (as in [teff of a star](#stars-teff)). Units are those of the
files; UCDs follow UCD1+ 1.5, and are in the FITS, VOTable and Parquet files. Text is
`str`, null where unknown; an unknown `float64` is NaN. A column that is *optional* is
missing where nothing was measured that could fill it. Tables may hold more columns: those
that a user's own table had.
"""

FLAGS = """\
## Status flags

`status` is the sum of the values of all flags that are set; 0 says that nothing is wrong.
`steadystar.data.status.explain(status)` gives their sentences in words, and
`pl.col("status") & int(steadystar.Status.DOUBLE_LINED) != 0` finds the rows with one of them.
*velocity* says whether there is one all the same; where not, the row holds NaN.
"""

WITHOUT = FATAL | Status.SURVEY_FLAG
"""No velocity: none was measured, or the survey's is not taken."""


def kind(column: schema.Column) -> str:
    names = {"String": "str", "Int64": "int64", "Float64": "float64", "Boolean": "bool"}
    return names[str(column.dtype)]


def row(table: str, column: schema.Column) -> str:
    anchor = f'<a id="{table}-{column.name}"></a>`{column.name}`'
    name = f"{anchor} *optional*" if column.optional else anchor
    meaning = column.meaning.replace("|", "\\|")
    cells = (name, kind(column), column.unit, f"`{column.ucd}`", meaning)
    return f"| {' | '.join(cells)} |"


def elsewhere() -> list[str]:
    """Return a row for each name that several tables have."""
    where: dict[str, list[str]] = {}
    for table in TABLES:
        for column in schema.TABLES[table]:
            where.setdefault(column.name, []).append(table)
    return [
        f"| `{name}` | "
        + ", ".join(f"[{table}](#{table}-{name})" for table in tables)
        + " |"
        for name, tables in sorted(where.items(), key=lambda item: item[0].lower())
    ]


def flag_row(flag: Status) -> str:
    velocity = "no" if flag in WITHOUT else "yes"
    meaning = SENTENCES[flag].replace("|", "\\|")
    return f"| `{flag.name}` | {flag.value} | {velocity} | {meaning} |"


def page() -> str:
    lines = [START]
    for table, sentence in TABLES.items():
        lines += [f"## {table}", "", sentence, ""]
        lines += ["| column | dtype | unit | UCD | meaning |", "|---|---|---|---|---|"]
        lines += [row(table, column) for column in schema.TABLES[table]]
        lines += [""]
    lines += ["## By name", "", "Which tables have a column.", ""]
    lines += ["| column | tables |", "|---|---|", *elsewhere()]
    lines += ["", FLAGS, "| flag | value | velocity | meaning |", "|---|---|---|---|"]
    lines += [flag_row(flag) for flag in Status]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
