"""The planted mistakes of `make mistakes` still fit the code that they change."""

import importlib.util
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_mistake_can_be_planted():
    spec = importlib.util.spec_from_file_location("plant_mistakes", ROOT / "tools" / "plant_mistakes.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert len(module.MISTAKES) > 50
    for mistake in module.MISTAKES:
        source = (ROOT / "src" / "equiprop" / mistake.file).read_text(encoding="utf-8")
        assert source.count(mistake.old) == 1, mistake.name
        assert mistake.old != mistake.new and (ROOT / mistake.tests).exists(), mistake.name
