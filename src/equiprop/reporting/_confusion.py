"""Which classes a run takes for which, as tables of a page."""

from collections.abc import Sequence
from typing import Any

from equiprop.reporting._markup import escaped
from equiprop.reporting._run import Run

_MOST_CLASSES = 20
_MOST_PAIRS = 15


def confusion_tables(run: Run) -> str:
    """A table for each split of which the run keeps how its classes were confused; empty where there is none.

    Up to twenty classes: the samples of each class, a row each, by what they were taken for. More: the pairs confused most often.
    """
    return "\n".join(_of_split(split, kept) for split, kept in sorted(run.confusion.items()))


def _of_split(split: str, kept: dict[str, Any]) -> str:
    names, matrix = [str(name) for name in kept["classes"]], kept["confusion"]
    heading = f"<p>{escaped(split)} samples after epoch {escaped(kept.get('epoch', '–'))}</p>"
    if len(names) > _MOST_CLASSES:
        return heading + _pairs(names, matrix)
    head = "".join(f'<th scope="col" class="number">{escaped(name)}</th>' for name in names)
    rows = []
    for name, row in zip(names, matrix, strict=True):
        cells = "".join(_cell(count, sum(row), right=place == len(rows)) for place, count in enumerate(row))
        rows.append(f'<tr><th scope="row">{escaped(name)}</th>{cells}</tr>')
    return (
        f'{heading}\n<div class="scroll"><table class="confusion"><thead><tr><th scope="col">class \\ taken for</th>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(count: int, total: int, *, right: bool) -> str:
    if not count:
        return '<td class="number none">0</td>'
    share = round(100 * count / max(total, 1))
    colour = "--accent" if right else "--warn-line"
    shade = f"color-mix(in srgb, var({colour}) {max(4, share if not right else share // 2)}%, transparent)"
    return f'<td class="number" style="background: {shade}">{count}</td>'


def _pairs(names: Sequence[str], matrix: Sequence[Sequence[int]]) -> str:
    found = [
        (count, names[i], names[j], sum(row))
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if i != j and count
    ]
    found.sort(key=lambda pair: -pair[0])
    rows = "".join(
        f"<tr><td>{escaped(right)}</td><td>{escaped(taken)}</td><td class='number'>{count} of {total}</td></tr>"
        for count, right, taken, total in found[:_MOST_PAIRS]
    )
    return (
        '<div class="scroll"><table class="confusion"><thead><tr><th scope="col">class</th><th scope="col">taken for</th>'
        f'<th scope="col" class="number">samples</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )
