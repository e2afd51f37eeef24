"""What each step does."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.workflows.stepping import outputs
from windlass.contexts.workflows import templates
from windlass.contexts.workflows.steptypes import functions, pii
from windlass.contexts.workflows.steptypes.base import Found, StepContext, StepFailure, Tools
from windlass.contexts.workflows.steptypes.threads import SMALL, apart, counted
from windlass.kernel.errors import ConfigError

LETTERS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)


def names(**more: Any) -> dict[str, Any]:
    return templates.scope(**{"inputs": {}, "outputs": {}, "last": {}, **more})


async def failure(name: str, config: dict[str, Any], **more: Any) -> StepFailure:
    with pytest.raises(StepFailure) as failed:
        await outputs(name, config, **more)
    return failed.value


async def test_prompt_renders_once_with_its_own_variables() -> None:
    config = {"template": "{{ greeting }} {{ inputs.name }}", "variables": {"greeting": "{{ inputs.word }}"}}
    seen = names(inputs={"name": "{{ secrets }}", "word": "Hi"})

    assert await outputs("prompt", config, seen) == {"text": "Hi {{ secrets }}"}
    assert await outputs("prompt", {"prompt": "bad"}) == {"text": "bad"}


async def test_prompt_names_what_it_does_not_know() -> None:
    failed = await failure("prompt", {"template": "{{ inputs.name }}"})

    assert failed.code == "template_error"
    assert failed.data == {"field": "config.template", "variable": "inputs.name"}


async def test_prompt_keeps_its_text_as_an_artifact() -> None:
    kept: list[tuple[str, str, str, bytes]] = []

    async def save(name: str, content: bytes, *, mime: str, kind: str, metadata: object = None) -> str:
        kept.append((name, mime, kind, content))
        return "id"

    found = await outputs("prompt", {"template": "é", "save_artifact": True}, tools=Tools(save_artifact=save))

    assert found == {"text": "é", "artifact_id": "id"}
    assert kept == [("step.txt", "text/plain", "prompt", "é".encode())]
    assert (await failure("prompt", {"template": "x", "save_artifact": True})).code == "unsupported"


async def test_log_writes_no_personal_data_and_no_secrets() -> None:
    lines: list[tuple[str, str]] = []
    tools = Tools(log=lambda *said: lines.append(said[:2]))
    config = {"message": "{{ inputs.who }} {{ secrets.token }}", "level": "warning"}
    seen = names(inputs={"who": "ann@example.org"}, secrets={"token": "hunter22"})

    found = await outputs("log", config, seen, tools=tools, secrets={"token": "hunter22"})

    assert found == {"logged": True, "level": "warning", "message": "[email] ***"}
    assert lines == [("warning", "[email] ***")]


async def test_log_may_keep_personal_data() -> None:
    tools = Tools(log=lambda *_: None, redact_logs=False)

    assert (await outputs("log", {"message": "ann@example.org"}, tools=tools))["message"] == "ann@example.org"


async def test_log_writes_to_the_log_of_the_process(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", logger="windlass.workflows"):
        await outputs("log", {"message": "hello"})

    [record] = caplog.records
    assert (record.message, record.levelname, vars(record)["run_id"]) == ("hello", "INFO", "run")


@pytest.mark.parametrize(
    "text,kind",
    [
        ("mail ann.b+c@mail.example.org now", "email"),
        ("card 4111 1111 1111 1111.", "credit_card"),
        ("ssn 123-45-6789", "ssn"),
        ("host 10.0.0.1", "ip_address"),
        ("AT61 1904 3002 3457 3201", "iban"),
        ("call +43 660 1234567", "phone"),
        ("call (555) 123-4567", "phone"),
    ],
)
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert [one.kind for one in pii.find(text)] == [kind]
    assert f"[{kind}]" in pii.redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "999.1.1.1",
        "000-12-3456",
        "AT61 1904 3002 3457 3202",
        "version 1.2.3",
        "2024-01-02",
        "a@b",
    ],
)
def test_what_only_looks_like_it_stays(text: str) -> None:
    assert pii.redact(text) == text


@given(LETTERS)
def test_redaction_leaves_nothing_behind(text: str) -> None:
    assert pii.redact(f"{text} ann@example.org {text}").count("ann@example.org") == 0


async def test_batch() -> None:
    found = await outputs("batch", {"items": "{{ inputs.l }}", "batch_size": 2}, names(inputs={"l": [1, 2, 3]}))

    assert found == {"batches": [[1, 2], [3]], "batch_count": 2, "batch_size": 2, "total_items": 3}


class Kept:
    def __init__(self) -> None:
        self.values: dict[tuple[str, str], Any] = {}

    async def get(self, tenant_id: str, key: str) -> Found | None:
        return Found(self.values[tenant_id, key], 1.0) if (tenant_id, key) in self.values else None

    async def put(self, tenant_id: str, key: str, value: Any, ttl_seconds: float, *, replace: bool) -> Found:
        self.values[tenant_id, key] = value
        return Found(value, 0.0, stored=True)

    async def drop(self, tenant_id: str, key: str) -> bool:
        return self.values.pop((tenant_id, key), None) is not None


async def test_cache_result() -> None:
    tools = Tools(cache=Kept())

    async def do(**config: Any) -> dict[str, Any]:
        return await outputs("cache_result", {"key": "k", **config}, tools=tools)

    assert await do(action="get") == {"key": "k", "cached": False, "stored": False, "data": None}
    assert await do(data=1) == {"key": "k", "cached": False, "stored": True, "data": 1}
    assert await do(data=2) == {"key": "k", "cached": True, "stored": False, "data": 1, "age_seconds": 1.0}
    assert (await do(action="set", data=3))["data"] == 3
    assert await do(action="invalidate") == {"key": "k", "invalidated": True}
    assert (await failure("cache_result", {"key": "k"})).code == "unsupported"


@pytest.mark.parametrize(
    "data,expression,result",
    [
        ([{"a": 1}, {"a": 40}], "[?a > `30`].a", [40]),
        ('{"a": [1]}', "a[0]", 1),
        ({"a": {"b": None}}, "a.b", None),
        ([3, 1, 2], "sort(@) | [0]", 1),
        ([["a"], ["b"]], "[]", ["a", "b"]),
        ({"x": "1", "y": "2"}, "join('-', values(@))", "1-2"),
    ],
)
async def test_json_transform(data: Any, expression: str, result: Any) -> None:
    found = await outputs("json_transform", {"data": data, "expression": expression})

    assert found == {"result": result, "expression": expression}
    assert (await outputs("json_transform", {"data": data, "query": expression}))["result"] == result


@pytest.mark.parametrize(
    "data,expression,code",
    [
        ({}, "a[", "validation_error"),
        ("{", "a", "validation_error"),
        ([1], "length(@[0])", "validation_error"),
        ([1], "|".join(["[@,@]"] * 40), "too_complex"),
        ([1], "|".join(["[@,@][]"] * 40), "too_complex"),
        ([1], "|".join(["[@,@]"] * 40) + "|to_string(@)", "too_complex"),
        ([1], "|".join(["[@,@]"] * 30) + "|@ == @", "too_complex"),
        ([1], "|".join(["[@,@]"] * 600), "validation_error"),
        (["a"] * 90_000, f"join('{'x' * 4000}', @)", "too_complex"),
    ],
)
async def test_json_transform_ends(data: Any, expression: str, code: str) -> None:
    config = {"data": data, "expression": "{{ inputs.expression }}"}
    assert (await failure("json_transform", config, names=names(inputs={"expression": expression}))).code == code


async def test_json_validate() -> None:
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}

    assert await outputs("json_validate", {"data": {"n": 1}, "schema": schema}) == {
        "valid": True,
        "errors": [],
        "path": None,
    }
    found = await outputs("json_validate", {"data": '{"n": "hunter22"}', "schema": schema})
    assert found == {"valid": False, "errors": ['n: the value is not of type "integer"'], "path": "n"}


async def test_json_validate_matches_in_linear_time() -> None:
    data, schema = '"' + "a" * 50_000 + '!"', {"pattern": "^(a+)+$"}

    assert not (await outputs("json_validate", {"data": data, "schema": schema}))["valid"]


@pytest.mark.parametrize(
    "schema", [{"$ref": "http://elsewhere.test/x"}, {"$ref": "file:///etc/passwd"}, {"type": "x"}, {"pattern": "(?=a)"}]
)
async def test_json_validate_fetches_nothing(schema: dict[str, Any]) -> None:
    config = {"data": 1, "schema": "{{ inputs.schema }}"}
    failed = await failure("json_validate", config, names=names(inputs={"schema": schema}))

    assert failed.code == "validation_error"
    assert failed.message.startswith("config.schema: ")


async def test_csv_to_json() -> None:
    text = '\ufeffname;age\nann;31\n\n"b;""o";\nx\n'

    assert await outputs("csv_to_json", {"csv_data": text, "delimiter": ";"}) == {
        "records": [{"name": "ann", "age": "31"}, {"name": 'b;"o', "age": ""}, {"name": "x", "age": None}],
        "columns": ["name", "age"],
        "count": 3,
    }
    assert await outputs("csv_to_json", {"data": "1,2\n", "has_header": False}) == {
        "records": [{"column_1": "1", "column_2": "2"}],
        "columns": ["column_1", "column_2"],
        "count": 1,
    }
    assert (await outputs("csv_to_json", {"data": ""}))["count"] == 0


@pytest.mark.parametrize(
    "text,words",
    [
        ("a,b\n1,2,3\n", "row 1 has 3 values, there are 2 columns"),
        ("a,a\n1,2\n", "'a' is there twice"),
        ('a\n"x', "unexpected end"),
        (f"a\n{'x' * 200_000}\n", "field larger than"),
        ("," * 2_000, "more than"),
    ],
)
async def test_csv_to_json_says_where_it_is_wrong(text: str, words: str) -> None:
    assert words in (await failure("csv_to_json", {"data": text})).message


async def test_json_to_csv() -> None:
    records = [{"a": 1, "b": None}, {"a": True, "c": [1, {"x": "é"}]}, {}]

    found = await outputs("json_to_csv", {"records": records, "delimiter": ";"})

    assert found == {"csv": 'a;b;c\r\n1;;\r\ntrue;;"[1,{""x"":""é""}]"\r\n;;\r\n', "count": 3}
    assert (await outputs("json_to_csv", {"data": [{"a": 1}], "include_header": False}))["csv"] == "1\r\n"
    assert "a record is an object" in (await failure("json_to_csv", {"records": [1]})).message


@given(st.lists(st.fixed_dictionaries({"a": LETTERS.filter(bool), "b, \n": LETTERS}), min_size=1, max_size=5))
def test_records_come_back_from_csv(records: list[dict[str, str]]) -> None:
    async def there_and_back() -> Any:
        made = await outputs("json_to_csv", {"records": "{{ r }}"}, names(r=records))
        return (await outputs("csv_to_json", {"data": "{{ c }}"}, names(c=made["csv"])))["records"]

    assert asyncio.run(there_and_back()) == records


@pytest.mark.parametrize(
    "text,config,matches",
    [
        ("#1 #22", {"pattern": r"#\d+"}, ["#1", "#22"]),
        ("#1 #22", {"pattern": r"#(\d+)"}, ["1", "22"]),
        ("a=1 b=2", {"pattern": r"(\w)=(\d)"}, [["a", "1"], ["b", "2"]]),
        ("Ab", {"pattern": "ab", "ignore_case": True}, ["Ab"]),
        ("a\nb", {"pattern": "^b$", "multiline": True}, ["b"]),
        ("a\nb", {"pattern": "a.b", "dotall": True}, ["a\nb"]),
        ("a\nb", {"pattern": "a.b|^b$"}, []),
        ("é1ü2", {"pattern": r"\d"}, ["1", "2"]),
    ],
)
async def test_regex_extract(text: str, config: dict[str, Any], matches: list[Any]) -> None:
    found = await outputs("regex_extract", {"text": text, **config})

    assert found == {"matches": matches, "count": len(matches), "pattern": config["pattern"]}


@pytest.mark.parametrize("pattern", ["(", "(?=a)", r"(a)\1", "((a{100}){100}){100}"])
async def test_regex_extract_refuses_what_is_not_linear(pattern: str) -> None:
    config = {"text": "a", "pattern": "{{ inputs.pattern }}"}
    failed = await failure("regex_extract", config, names=names(inputs={"pattern": pattern}))
    assert failed.message.startswith("config.pattern: ")


async def test_regex_extract_ends() -> None:
    assert (await outputs("regex_extract", {"text": "a" * 900_000, "pattern": "(a+)+$b"}))["count"] == 0
    assert "more than 10,000" in (await failure("regex_extract", {"text": "a" * 10_001, "pattern": "a"})).message
    slow = {"text": "a" * 1_000_000, "pattern": "(?s)a(?:.*z)?"}
    assert (await failure("regex_extract", slow)).code in {"too_complex", "validation_error"}


async def test_text_clean() -> None:
    text = "<p>a  b &amp; c</p><script>x()</script>\n\n\n\nÃ©\x00"
    every = await outputs("text_clean", {"text": "{{ t }}"}, names(t=text))

    assert every["text"] == "a b & c\n\né"
    assert every["original_length"] == len(text)
    assert every["cleaned_length"] == len(every["text"])
    some = {"text": "A. https://x.test/y ann@example.org", "operations": ["lowercase", "remove_urls", "remove_emails"]}
    assert (await outputs("text_clean", some))["text"] == "a.  "
    assert (await outputs("text_clean", {"text": " a, b! ", "operations": ["remove_punctuation", "trim"]}))[
        "text"
    ] == "a b"


@pytest.mark.parametrize("text", ["<script>" * 50_000, "<" * 400_000, "<!--" * 100_000, "&" * 400_000])
async def test_text_clean_takes_anything(text: str) -> None:
    assert (await outputs("text_clean", {"text": text}))["original_length"] == len(text)


async def test_template_render_reads_files_only_below_its_root(tmp_path: Path) -> None:
    root = tmp_path / "files"
    root.mkdir()
    (root / "letter.txt").write_text("Dear {{ who }}", encoding="utf-8")
    (tmp_path / "other.txt").write_text("secret", encoding="utf-8")
    (root / "link.txt").symlink_to(tmp_path / "other.txt")
    tools = Tools(files_root=root)

    found = await outputs("template_render", {"template_file": "letter.txt", "variables": {"who": "Ann"}}, tools=tools)

    assert found == {"text": "Dear Ann"}
    for name in ("../other.txt", "link.txt", str(tmp_path / "other.txt"), "nothing", ".", "a\0b"):
        failed = await failure("template_render", {"template_file": "{{ n }}"}, names=names(n=name), tools=tools)
        assert failed.code == "file_access_denied"
    assert (await failure("template_render", {"template_file": "letter.txt"})).code == "file_access_denied"


async def test_markdown_to_html_obeys_no_html() -> None:
    text = "# Hi\n\n<script>x</script> [a](javascript:x) ~~s~~\n\n|a|\n|-|\n|1|\n"
    found = await outputs("markdown_to_html", {"markdown": text})

    assert found["html"] == found["text"]
    assert "<h1>Hi</h1>" in found["html"]
    assert "<s>s</s>" in found["html"]
    assert "<table>" in found["html"]
    assert "<script" not in found["html"]
    assert "href" not in found["html"]
    assert "<table>" not in (await outputs("markdown_to_html", {"text": text, "extensions": []}))["html"]


async def test_html_to_markdown() -> None:
    html = "<h1>T</h1><!-- c --><p>a <b>b</b> <a title='>' href='x'>l</a> 1 < 2</p><script>1</script>"

    assert await outputs("html_to_markdown", {"html": html}) == {
        "markdown": '# T\n\na **b** [l](x ">") 1 < 2',
        "text": '# T\n\na **b** [l](x ">") 1 < 2',
    }
    assert (await outputs("html_to_markdown", {"html": html, "strip_tags": ["a", "b"]}))["text"] == "# T\n\na b l 1 < 2"
    assert (await outputs("html_to_markdown", {"html": "plain.txt"}))["text"] == "plain.txt"
    assert "too deeply nested" in (await failure("html_to_markdown", {"html": "<div>" * 2_000})).message


@pytest.mark.parametrize("piece", ["<a href='", "<!--", "<a ", '<a x="', "</a", "<![CDATA[", "<?"])
async def test_html_to_markdown_takes_broken_html(piece: str) -> None:
    html = piece * (60_000 // len(piece))

    assert (await outputs("html_to_markdown", {"html": html}))["text"]


async def test_token_count() -> None:
    assert await outputs("token_count", {"text": "hello world"}) == {
        "token_count": 3,
        "word_count": 2,
        "char_count": 11,
        "model": "gpt-4",
        "estimated": True,
    }


async def test_diff_change_detector() -> None:
    same = await outputs("diff_change_detector", {"current": "abc"}, names(last={"text": "abc"}))
    assert same == {"changed": False, "ratio": 1.0, "diff": "", "text": "abc"}
    alike = {"current": "a" * 99 + "b", "previous": "a" * 100}
    assert not (await outputs("diff_change_detector", alike))["changed"]
    assert (await outputs("diff_change_detector", {**alike, "threshold": 1}))["changed"]
    found = await outputs("diff_change_detector", {**alike, "method": "unified"})
    assert found["changed"]
    assert found["diff"].splitlines()[-1] == "+" + "a" * 99 + "b"
    assert (await outputs("diff_change_detector", {"current": "x"}))["changed"]


async def test_document_diff() -> None:
    config = {"document_a": "a\nb\nc\n", "document_b": "a\nx\nc\nd\n", "context_lines": 1}
    diff = "--- document_a\n+++ document_b\n@@ -1,3 +1,4 @@\n a\n-b\n+x\n c\n+d"

    assert await outputs("document_diff", config) == {"diff": diff, "additions": 2, "deletions": 1, "has_changes": True}
    rows = (await outputs("document_diff", {**config, "output_format": "json"}))["diff"]
    assert rows[1:3] == [{"type": "same", "text": "a"}, {"type": "removed", "text": "b"}]
    assert not (await outputs("document_diff", {"document_a": "a", "document_b": "a"}))["has_changes"]


async def test_a_comparison_ends() -> None:
    old = "".join(f"{n * 7 % 1000}\n" for n in range(100_000))
    new = "".join(f"{n * 13 % 1000}\n" for n in range(100_000))

    assert (await failure("document_diff", {"document_a": old, "document_b": new})).code == "too_complex"
    assert (await outputs("document_diff", {"document_a": old, "document_b": old + "x"}))["additions"] == 1


async def test_document_merge_and_context_build() -> None:
    documents = ["one", {"title": "T", "text": "two"}, {"content": "three"}]

    assert (await outputs("document_merge", {"documents": documents, "separator": "|"}))["merged"] == "one|two|three"
    titled = await outputs("document_merge", {"documents": documents[:2], "add_headers": True})
    assert titled == {
        "merged": "# Document 1\n\none\n\n# T\n\ntwo",
        "text": "# Document 1\n\none\n\n# T\n\ntwo",
        "document_count": 2,
    }
    seen = names(inputs={"q": 1}, last={"text": "before"})
    config = {"sources": documents, "separator": "|", "include_inputs": True, "include_prev": True}
    assert await outputs("context_build", config, seen) == {
        "context": '{"q":1}|before|one|two|three',
        "source_count": 5,
        "total_chars": 28,
    }
    assert (await outputs("context_build", {**config, "max_tokens": 1}, seen))["context"] == '{"q"'
    assert "config.sources.0" in (await failure("context_build", {"sources": [{"x": 1}]})).message


async def test_policy_check() -> None:
    seen = names(last={"text": "Write to ann@example.org, BADLY or bad."}, inputs={"deep": {"t": "x" * 10}})
    config = {"block_on_pii": True, "block_words": ["bad", "other"], "max_length": 10, "redact_preview": True}

    assert await outputs("policy_check", config, seen) == {
        "blocked": True,
        "reasons": ["pii", "block_words", "max_length"],
        "pii": {"email": 1},
        "block_words_matched": ["bad"],
        "length": 39,
        "redacted_preview": "Write to [email], BADLY or bad.",
    }
    inputs = {"text_source": "inputs", "field": "deep.t", "max_length": 10}
    assert not (await outputs("policy_check", inputs, seen))["blocked"]
    anywhere = {"text_source": "field", "field": "inputs.deep.t"}
    assert (await outputs("policy_check", anywhere, seen))["length"] == 10
    assert (await failure("policy_check", {"field": "x"}, names=seen)).data["variable"] == "last.x"


async def test_python_calls_what_was_registered() -> None:
    def score(text: str, context: StepContext) -> dict[str, Any]:
        return {"score": len(text), "key": context.idempotency_key, "thread": threading.current_thread().name}

    async def twice(n: int) -> int:
        return 2 * n

    with ThreadPoolExecutor(1, "mine") as threads:
        tools = Tools(functions={"score": score, "twice": twice}, threads=threads)
        found = await outputs("python", {"function": "score", "arguments": {"text": "abc"}}, tools=tools)
        assert found == {"score": 3, "key": "run:step", "thread": "mine_0"}
        found = await outputs("python", {"function": "twice", "arguments": {"n": 4}}, tools=tools)
        assert found == {"result": 8}
        wrong = {"function": "score", "arguments": {"words": 1}}
        assert "config.arguments" in (await failure("python", wrong, tools=tools)).message
        assert "no function" in (await failure("python", {"function": "x"}, tools=tools)).message


async def test_only_small_work_is_done_in_the_event_loop() -> None:
    here = threading.current_thread()

    assert await apart(SMALL, threading.current_thread) is here
    assert await apart(SMALL + 1, threading.current_thread) is not here

    def compute() -> str:
        return " ".join(map(str, range(20_000))) and threading.current_thread().name

    assert len(set(await asyncio.gather(*(apart(SMALL + 1, compute) for _ in range(20))))) == 1


async def test_the_event_loop_goes_on_while_a_large_text_is_worked_on() -> None:
    task = asyncio.create_task(outputs("html_to_markdown", {"html": "<i>a</i>" * 8_000}))
    turns = 0
    while not task.done():
        turns += 1
        await asyncio.sleep(0)

    assert turns > 10
    assert (await task)["text"].startswith("*a*")


async def test_a_template_that_takes_much_work_is_rendered_in_a_thread() -> None:
    here = threading.current_thread()
    seen: list[threading.Thread] = []

    def work(units: int) -> str:
        seen.append(threading.current_thread())
        return templates.render("{% for n in range(20000) %}x{% endfor %}", {}, work=units)

    assert await counted(work) == "x" * 20_000
    assert seen[0] is here
    assert seen[1] is not here
    with pytest.raises(StepFailure, match="template_error"):
        templates.condition("{% for n in range(20000) %}x{% endfor %}", {})


async def test_json_validate_compares_not_too_much_with_each_other() -> None:
    data: list[Any] = [{"a": n} for n in range(20_000)]
    schema = {"items": {"type": "object"}, "uniqueItems": True}

    assert (await outputs("json_validate", {"data": data[:100], "schema": schema}))["valid"]
    assert "uniqueItems" in (await failure("json_validate", {"data": data, "schema": schema})).message


def test_two_functions_have_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functions, "declared", {})

    @functions.step_function("f")
    def one() -> None: ...

    assert functions.declared == {"f": one}
    assert functions.step_function("f")(one) is one
    with pytest.raises(ConfigError, match="two functions"):
        functions.step_function("f")(lambda: None)
