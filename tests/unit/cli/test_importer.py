"""What becomes of batches: counted, sent again under the same key, refused lines told by their place in the input."""

import pytest

from tests.unit.cli.fakes import scripted
from windlass.cli.client.protocol import Fault, Stored
from windlass.cli.exits import CommandError
from windlass.cli.importing.batches import Batch, batches
from windlass.cli.importing.importer import Importer, Tally
from windlass.cli.importing.items import Item, Refused
from windlass.cli.importing.rejects import Rejects
from windlass.kernel.errors import TooLarge, Unavailable


class Heard(Rejects):
    """Keeps what it is told."""

    def __init__(self) -> None:
        super().__init__(None)
        self.told: list[Refused] = []

    def add(self, refused: Refused) -> None:
        self.count += 1
        self.told.append(refused)


def lines(*numbers: int) -> list[Batch]:
    return list(batches([Item(number, b'{"n":%d}' % number) for number in numbers], records=2))


async def test_batches_are_counted_and_shown() -> None:
    script, client = scripted(store=[Stored(2, 0, []), Stored(1, 1, [])])
    shown: list[Tally] = []

    tally = await Importer(client, "", Heard(), patience=0).run(
        lines(1, 2, 3), lambda tally: shown.append(Tally(tally.accepted, tally.repeated, tally.refused))
    )

    assert tally == Tally(accepted=3, repeated=1, refused=0)
    assert shown == [Tally(2, 0, 0), Tally(3, 1, 0)]
    assert [asked[1] for asked in script.asked] == [b'{"n":1}\n{"n":2}\n', b'{"n":3}\n']


async def test_refused_lines_are_told_in_order_by_their_place_in_the_input() -> None:
    rejects = Heard()
    _, client = scripted(store=[Stored(1, 0, [Fault(2, "source", "missing")])])
    batch = next(batches([Refused(4, None, "no JSON"), Item(3, b"{}"), Item(9, b'{"n":9}'), Refused(11, "x", "bad")]))

    tally = await Importer(client, "", rejects, patience=0).run([batch], lambda _tally: None)

    assert [str(one) for one in rejects.told] == [
        "line 4: no JSON",
        "line 9: source: missing",
        "line 11: x: bad",
    ]
    assert rejects.told[1].text == '{"n":9}'
    assert tally == Tally(accepted=1, refused=3)


async def test_lines_that_are_all_refused_ask_nobody() -> None:
    script, client = scripted()
    batch = next(batches([Refused(1, None, "bad")]))

    assert (await Importer(client, "", Heard(), patience=0).run([batch], lambda _tally: None)).refused == 1
    assert script.asked == []


async def test_a_batch_is_sent_again_under_the_same_key(capsys: pytest.CaptureFixture[str]) -> None:
    away = Unavailable("no answer from http://x")
    script, client = scripted(store=[away, away, Stored(2, 0, [])])

    tally = await Importer(client, "", Heard(), patience=60).run(lines(1, 2), lambda _tally: None)

    assert tally.accepted == 2
    assert len(script.asked) == 3
    assert len(set(script.asked)) == 1
    assert capsys.readouterr().err == "waiting, then sending line 1 and on again: no answer from http://x\n"


async def test_a_record_too_large_for_the_server_is_refused_by_its_line() -> None:
    rejects = Heard()
    _, client = scripted(store=[TooLarge("record 1 is larger than 9 bytes"), TooLarge("too large")])
    importer = Importer(client, "", rejects, patience=60)

    await importer.run(lines(7), lambda _tally: None)

    assert [str(one) for one in rejects.told] == ["line 7: record 1 is larger than 9 bytes"]
    with pytest.raises(CommandError, match="lines 8 to 9: too large"):
        await importer.run(lines(8, 9), lambda _tally: None)


async def test_patience_ends() -> None:
    script, client = scripted(store=[Unavailable("away")])

    with pytest.raises(Unavailable, match="away"):
        await Importer(client, "", Heard(), patience=0).run(lines(1), lambda _tally: None)
    assert len(script.asked) == 1
