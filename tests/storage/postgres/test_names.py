"""``:name`` parameters in SQL."""

import pytest

from windlass.storage.postgres.names import to_psycopg


@pytest.mark.parametrize(
    "given,expected",
    [
        ("SELECT :a, :b_2", "SELECT %(a)s, %(b_2)s"),
        ("SELECT :a::jsonb, '{}'::jsonb", "SELECT %(a)s::jsonb, '{}'::jsonb"),
        ("SELECT 'at :noon', :a", "SELECT 'at :noon', %(a)s"),
        ("SELECT 'it''s :x' || :a", "SELECT 'it''s :x' || %(a)s"),
        (r"SELECT E'\':x' || :a", r"SELECT E'\':x' || %(a)s"),
        ('SELECT ":x" FROM t', 'SELECT ":x" FROM t'),
        ("SELECT $$ :x $$, $t$ :y $t$, :a", "SELECT $$ :x $$, $t$ :y $t$, %(a)s"),
        ("SELECT 1 -- :x\n, :a", "SELECT 1 -- :x\n, %(a)s"),
        ("SELECT /* :x */ :a", "SELECT /* :x */ %(a)s"),
        ("SELECT a[1:2], '12:30'", "SELECT a[1:2], '12:30'"),
        ("SELECT 7 % 4, x LIKE '50%'", "SELECT 7 %% 4, x LIKE '50%%'"),
        ("UPDATE t SET a=:a WHERE b>=:b", "UPDATE t SET a=%(a)s WHERE b>=%(b)s"),
    ],
)
def test_parameters_are_found_and_nothing_else(given: str, expected: str) -> None:
    assert to_psycopg(given) == expected
