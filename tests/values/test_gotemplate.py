"""Go templates give Go's results and Go's complaints."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastcopy import gotemplate
from fastcopy.gotemplate import TemplateError
from fastcopy.inspecting import config, inspect
from fastcopy.manifest import Manifest
from tests.values.support import oci_image

RAW, BLOBS = oci_image()
IMAGE = Manifest.parse(RAW)
DOCUMENT = inspect(IMAGE, BLOBS[0], name="quay.io/x", tags=["a", "b"])


def render(text: str, data: Any = DOCUMENT) -> str:
    """Render over the inspect document."""
    return gotemplate.render(text, data, name="t")


#: Templates with the output of Go 1.26's text/template over the same struct.
RESULTS = {
    "{{.Name}} {{.Os}}": "quay.io/x linux",
    "{{.RepoTags}} {{.Labels}}": "[a b] map[a:2< z:1]",
    "{{.Created}}": "2020-01-02 03:04:05.12 +0000 UTC",
    '{{.Created.Format "Mon Jan _2 15:04:05.000 -07:00 2006"}}': "Thu Jan  2 03:04:05.120 +00:00 2020",
    "{{.Created.Year}} {{.Created.Month}} {{.Created.Unix}}": "2020 January 1577934245",
    "{{.Labels.a}} {{.Labels.none}}": "2< <no value>",
    '{{index .Labels "z"}}{{index .Labels "none"}}{{index .Env 0}}': "1PATH=/x",
    "{{(index .LayersData 0).Annotations.x}}": "y<",
    "{{range .RepoTags}}<{{.}}>{{end}}": "<a><b>",
    "{{range $i, $t := .RepoTags}}{{$i}}={{$t}} {{else}}none{{end}}": "0=a 1=b ",
    "{{range $k, $v := .Labels}}{{$k}}{{$v}};{{end}}": "a2<;z1;",
    "{{range .RepoTags}}{{if eq . `b`}}{{break}}{{end}}{{.}}{{end}}": "a",
    "{{range .RepoTags}}{{if eq . `a`}}{{continue}}{{end}}{{.}}{{end}}": "b",
    "{{range 3}}{{.}}{{end}}{{range $.Tag}}{{else}}e{{end}}": None,
    "{{range 0}}x{{else}}e{{end}}": "e",
    "{{with .Tag}}x{{else with .Os}}{{.}}{{end}}": "linux",
    "{{if .Tag}}a{{else if .Os}}b{{else}}c{{end}}": "b",
    "{{$x := .Os}}{{with .Name}}{{$x}}{{$.Os}}{{$x = `y`}}{{end}}{{$x}}": "linuxlinuxy",
    '{{define "q"}}[{{.}}]{{end}}{{template "q" .Os}}{{template "q"}}': "[linux][<no value>]",
    '{{block "b" .Os}}{{len .}}{{end}}': "5",
    "a {{- /* gone */ -}} b": "ab",
    "a  {{- .Os -}}  \n b {{.Os}}": "alinuxb linux",
    "{{-3}} {{- 3}}": "-33",
    "{{.Os | upper | printf `%s-%s` `x`}}": "x-LINUX",
    "{{and .Os 0}} {{or `` .Os}} {{not .Tag}} {{and 1 2 3}}": "0 linux true 3",
    "{{eq .Os `windows` `linux`}} {{ne 1 2}} {{lt 1 2}} {{le `b` `a`}} {{gt 1.5 1.0}} {{ge 2 2}}": (
        "true true true false true true"
    ),
    "{{len .Env}} {{len .Labels}} {{len `é`}}": "2 2 2",
    "{{slice .Os 1 3}} {{slice .RepoTags 1}}": "in [b]",
    "{{print 1 2 `a` `b` 3}} {{println 1 `a`}}": "1 2a b3 1 a\n".replace("2a b3", "2ab3"),
    "{{html `<a&\"'>`}} {{js `a'<`}} {{urlquery `a b&`}}": r"&lt;a&amp;&#34;&#39;&gt; a\'\u003C a+b%26",
    "{{json .Labels}} {{json .Created}} {{json .Labels.none}} {{json nil}}": (
        '{"a":"2<","z":"1"} "2020-01-02T03:04:05.12Z" null null'
    ),
    "{{join .RepoTags `,`}} {{split `a,b` `,`}} {{title `a bc`}} {{lower `A`}}": "a,b [a b] A Bc a",
    "{{pad `x` 1 2}}|{{pad `` 1 2}}|{{truncate `abcd` 2}}|{{truncate `a` 2}}": " x  ||ab|a",
    '{{"\\x41\\u00e9\\n\\""}}{{\'a\'}}{{`r\\n`}}': 'Aé\n"97r\\n',
    "{{0x1F}} {{0b11}} {{012}} {{1_000}} {{1e3}} {{.5}} {{1.}} {{1e21}}": "31 3 10 1000 1000 0.5 1 1e+21",
    "{{true}} {{nil | print}}": None,
    "{{printf `%5s|%-5s|%05d|%+d|%x|%X|%q|%t|%T|%%|%c|%U|%6.2f` `a` `b` 3 4 `hi` 255 `q` true .Created 65 65 1.5}}": (
        'a|b    |00003|+4|6869|FF|"q"|true|*time.Time|%|A|U+0041|  1.50'.replace("a|", "    a|", 1)
    ),
    "{{printf `%d %s` `a` 1}} {{printf `%d`}} {{printf `x` 1}}": (
        "%!d(string=a) %!s(int=1) %!d(MISSING) x%!(EXTRA int=1)"
    ),
    "{{printf `%v %d %5d` .Labels .RepoTags .RepoTags}}": (
        "map[a:2< z:1] [%!d(string=a) %!d(string=b)] [%!d(string=    a) %!d(string=    b)]"
    ),
    "{{printf `%9999999d|%*d|%U|%#U|%c` 1 3 4 65 65 -1}}": "%!(BADWIDTH)1|  4|U+0041|U+0041 'A'|\ufffd",
    "{{printf `%+v` (index .LayersData 1).Annotations}}": "map[x:y<]",
    "{{.Os}}}}{{`}}`}}": "linux}}}}",
}

#: Templates with Go's complaints.
COMPLAINTS = {
    "{{.Foo}}": 'template: t:1:2: executing "t" at <.Foo>: can\'t evaluate field Foo in type inspect.Output',
    "\n {{.Os.X}}": 'template: t:2:6: executing "t" at <.Os.X>: can\'t evaluate field X in type string',
    "{{.Env.X}}": 'template: t:1:6: executing "t" at <.Env.X>: can\'t evaluate field X in type []string',
    "{{.Created.Foo}}": (
        'template: t:1:10: executing "t" at <.Created.Foo>: can\'t evaluate field Foo in type *time.Time'
    ),
    "{{index .Env 9}}": (
        'template: t:1:2: executing "t" at <index .Env 9>: error calling index: index out of range: 9'
    ),
    "{{upper 3}}": 'template: t:1:8: executing "t" at <3>: expected string; found 3',
    "{{upper .Env}}": ('template: t:1:8: executing "t" at <.Env>: wrong type for value; expected string; got []string'),
    "{{upper}}": 'template: t:1:2: executing "t" at <upper>: wrong number of args for upper: want 1 got 0',
    "{{eq .Env 1}}": (
        'template: t:1:2: executing "t" at <eq .Env 1>: error calling eq: '
        "incompatible types for comparison: []string and int"
    ),
    "{{lt .Env 1}}": ('template: t:1:2: executing "t" at <lt .Env 1>: error calling lt: invalid type for comparison'),
    "{{call .Os}}": (
        'template: t:1:2: executing "t" at <call .Os>: error calling call: non-function .Os of type string'
    ),
    "{{3 .Env}}": 'template: t:1:2: executing "t" at <3>: can\'t give argument to non-function 3',
    "{{.Env 3}}": 'template: t:1:2: executing "t" at <.Env>: Env has arguments but cannot be invoked as function',
    "{{nil}}": 'template: t:1:2: executing "t" at <nil>: nil is not a command',
    '{{template "x"}}': 'template: t:1:11: executing "t" at <{{template "x"}}>: template "x" not defined',
    "{{foo}}": 'template: t:1: function "foo" not defined',
    "{{$x}}": 'template: t:1: undefined variable "$x"',
    "{{$x = 1}}": 'template: t:1:7: executing "t" at <1>: undefined variable: $x',
    '{{define "q"}}x{{end}}{{define "q"}}y{{end}}': 'template: t:1: template: multiple definition of template "q"',
    "{{if}}{{end}}": "template: t:1: missing value for if",
    "{{if .Os}}": "template: t:1: unexpected EOF",
    "{{end}}": "template: t:1: unexpected {{end}}",
    "{{else}}": "template: t:1: unexpected {{else}}",
    "{{break}}": "template: t:1: {{break}} outside {{range}}",
    "{{(.Os}}": "template: t:1: unclosed left paren",
    "{{.Os)}}": "template: t:1: unexpected right paren",
    "{{.Os": "template: t:1: unclosed action",
    '{{"a}}': "template: t:1: unterminated quoted string",
    "{{1a}}": 'template: t:1: bad number syntax: "1a"',
    "{{.Os.}}": "template: t:1: unexpected <.> in operand",
    '{{.Os"x"}}': "template: t:1: bad character U+0022 '\"'",
    "{{|}}": 'template: t:1: unexpected "|" in command',
    "{{printf `%#v` 1}}": (
        'template: t:1:2: executing "t" at <printf `%#v` 1>: error calling printf: %#v is not supported'
    ),
    "{{.Os | 3}}": "template: t:1: non executable command in pipeline stage 2",
}


@pytest.mark.parametrize(("text", "result"), [pair for pair in RESULTS.items() if pair[1] is not None])
def test_a_template_has_gos_result(text: str, result: str) -> None:
    """Every construct and function, with Go's output."""
    assert render(text) == result


@pytest.mark.parametrize(("text", "complaint"), COMPLAINTS.items())
def test_a_bad_template_has_gos_complaint(text: str, complaint: str) -> None:
    """Place, context and reason as text/template words them."""
    with pytest.raises(TemplateError) as caught:
        render(text)
    assert caught.value.message == complaint


def test_a_nil_pointer_is_named() -> None:
    """An image without a date has a nil *time.Time: it prints as <nil>, and has no year."""
    raw, blobs = oci_image({"architecture": "amd64", "os": "linux"})
    document = inspect(Manifest.parse(raw), blobs[0])
    assert render("{{.Created}} {{.Labels}} {{.Env}} {{json .Env}}", document) == "<nil> map[] [] null"
    with pytest.raises(TemplateError, match=r"nil pointer evaluating \*time\.Time\.Year"):
        render("{{.Created.Year}}", document)


def test_a_config_is_a_struct_with_an_embedded_platform() -> None:
    """`--config` templates see image-spec's Go names."""
    found = config(IMAGE, BLOBS[0])
    assert render("{{.Architecture}} {{.Platform.OS}} {{.Config.Env}}", found) == "arm64 linux [PATH=/x A=<b>&c]"
    assert render("{{range .History}}{{.CreatedBy}}{{.EmptyLayer}} {{end}}", found) == "afalse etrue bfalse "
    assert render("{{.Config.Volumes}} {{len .RootFS.DiffIDs}}", found) == "map[/a:{} /b:{}] 2"


@pytest.mark.parametrize(
    "text",
    [
        "{{range 2000000000}}{{end}}x",
        "{{range 100000000}}{{.}}{{end}}",
        '{{define "r"}}{{template "r"}}{{end}}{{template "r"}}',
        "{{range 99999}}{{range 99999}}x{{end}}{{end}}",
        '{{$x := "x"}}{{range 99}}{{$x = print $x $x}}{{end}}',
        "{{if 1}}" * 200 + "{{end}}" * 200,
        "{{" + "(" * 500 + "1" + ")" * 500 + "}}",
        '{{pad "x" 999999999 999999999}}',
    ],
)
def test_a_template_that_would_not_end_is_stopped(text: str) -> None:
    """Steps, output and nesting are bounded: an error, not a hang."""
    with pytest.raises(TemplateError):
        render(text)


def test_the_report_package_adds_its_manners() -> None:
    r"""\t and \n are meant, a line end is added, a range of one's own sees all rows, and table aligns."""
    assert gotemplate.report(r"{{.Os}}\t{{.Name}}", [DOCUMENT], name="r") == "linux\tquay.io/x\n"
    assert gotemplate.report("{{range .}}{{.Os}};{{end}}", [DOCUMENT, DOCUMENT], name="r") == "linux;linux;\n"
    assert gotemplate.report("{{.Os}}", [DOCUMENT, DOCUMENT], name="r") == "linux\nlinux\n"
    assert gotemplate.report('{{"a\\nb"}}', [DOCUMENT], name="r") == "a\nb"
    assert gotemplate.report("table {{.Os}} {{.Name}}", [DOCUMENT], name="r") == "linux       quay.io/x\n"
    with pytest.raises(TemplateError, match=r"can't evaluate field Foo in type interface \{\}"):
        gotemplate.report("{{.Foo}}", [DOCUMENT], name="r")


_WORDS = [
    "{{", "}}", "{{- ", " -}}", "if", "else", "end", "range", "with", "define", "block", "template", "break",
    "continue", ".Os", ".Env", ".Labels", ".Created", ".LayersData", ".", "$", "$x", ":=", "=", "|", "(", ")", ",",
    '"a"', "`b`", "'c'", "1", "0.5", "nil", "true", "printf", "index", "slice", "len", "eq", "lt", "and", "or",
    "json", "join", "pad", "title", "/*", "*/", "%d", "\n", " ", "x",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from(_WORDS), max_size=25).map(" ".join))
def test_any_text_is_a_template_or_a_template_error(text: str) -> None:
    """Whatever is given, the outcome is text or one clear error."""
    for whole in (text, "{{" + text + "}}", "{{range .}}" + text + "{{end}}"):
        try:
            outcome: str | TemplateError = gotemplate.report(whole, [DOCUMENT], name="t")
        except TemplateError as problem:
            outcome = problem
        assert not isinstance(outcome, TemplateError) or outcome.message.startswith("template: t")
