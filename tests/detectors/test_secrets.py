"""Secrets and personal data: found where they are, and nowhere else."""

import base64
import binascii
import json
import time
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from seeds import FORMATS, password, token

from mcpguard.detectors.findings import Finding, merged
from mcpguard.detectors.pii import KINDS, personal
from mcpguard.detectors.redactor import Redactor
from mcpguard.detectors.secrets.checksums import has_bech32, has_crc32, is_jwt
from mcpguard.detectors.secrets.formats import Format
from mcpguard.detectors.secrets.stop_list import is_placeholder
from mcpguard.detectors.secrets.tokens import SPACED, _spaced

REDACTOR = Redactor()


def found(text: str) -> list[str]:
    """What is found in a text."""
    return [text[one.start : one.end] for one in REDACTOR.find(text)]


def test_sixty_issuers_formats_are_known() -> None:
    """By the issuers' names, not by the number of patterns."""
    assert len({one.kind.split("_")[0] for one in FORMATS}) >= 60


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.kind)
def test_a_token_of_every_format_is_found_wherever_it_stands(one: Format) -> None:
    """In prose, in code, in JSON with escapes, in a query, at the ends of a text."""
    for seed in range(50):
        secret = token(one, seed)
        for text in (
            secret,
            f"The key is {secret}, keep it.",
            f'{{"x": "{secret}"}}',
            f'"line\\n{secret}\\n"',
            f"https://h/?x={secret}&y=1",
            f"x={secret}\n",
            f"日本語{secret}日本語",
        ):
            assert secret not in REDACTOR.redact(text), text.replace(secret, "...")


@pytest.mark.parametrize("one", FORMATS, ids=lambda one: one.kind)
def test_every_format_says_a_word_that_all_its_tokens_hold(one: Format) -> None:
    """Else the quick look would pass over it."""
    assert all(any(word in token(one, seed) for word in one.words) for seed in range(20))


ASSIGNED = [
    'password = "{}"',
    "PASSWORD={}",
    "export DB_PASSWORD='{}'",
    'db_password: "{}"',
    "password: {}",
    "password:\n    {}",
    '{{"password": "{}"}}',
    '{{"user": {{"apiKey" : "{}"}}}}',
    '{{\\"client_secret\\": \\"{}\\"}}',
    "client_secret => '{}',",
    "[default]\naws_secret_access_key = {}",
    "X-Api-Key: {}",
    "Authorization: Bearer {}",
    "authorization: Token {}",
    'curl -H "Authorization: Basic {}"',
    "Cookie: session={}",
    "postgres://app:{}@db.internal:5432/app",
    "https://user:{}@git.example.org/x.git",
    "amqp://:{}@mq/",
    "https://h/cb?access_token={}&state=1",
    "AccountName=a;AccountKey={};EndpointSuffix=x",
    "<password>{}</password>",
    "const accessToken = `{}`;",
    "settings['secret_key'] = '{}'",
    "password: |\n  {}\n",
    "db_password: >-\n  {}\nuser: ada",
    "DB_PASS={}",
    '<add key="Password" value="{}"/>',
    'Secret is inside: {{\\\\\\"api_key\\\\\\": \\\\\\"{}\\\\\\"}}',
]

WITH_A_BLANK = [
    "mysql --user root --password {} shop",
    "gh auth login --token {}",
    "tool --api-key '{}' run",
    'tool --client-secret "{}"',
    "tool --pass {} --verbose",
    '["--password", "{}"]',
    "Connect-It -Password '{}'",
    'ConvertTo-SecureString "{}" -AsPlainText -Force',
    "sshpass -p {} ssh host",
    "mysql -u root -p{} shop",
    "az login --service-principal -u id -p {} --tenant t",
    "redis-cli -a {} ping",
    "requirepass {}",
    "htpasswd -b file ada {}",
    "openssl rsa -in key.pem -passin pass:{}",
    "curl -u ada:{} https://example.org",
    "curl --user 'ada:{}' https://example.org",
    "smbclient -U ada%{} //host/share",
    "FROM x\nENV DB_PASSWORD {}\n",
    "machine example.org login ada password {}",
    "ALTER USER ada WITH PASSWORD '{}'",
    "CREATE USER ada IDENTIFIED BY '{}'",
    'config.setPassword("{}")',
    "The password is {} and the user is ada.",
]

TABLES = [
    "user,password,role\nada,{},admin\n",
    '"user","password"\n"ada","{}"',
    "id;user;api_key\r\n1;ada;{}\r\n",
    "user\tpassword\nada\t{}",
    "user,password\nada,none\nbob,none\neve,{}\n",
    "API_KEY,{}\nREGION,eu\n",
    "| name | password |\n|---|---|\n| ada | {} |",
    "| Setting | Value |\n|---|---|\n| REGION | eu |\n| `API_KEY` | `{}` |\n",
    "name | password\n--- | ---\nada | {}",
]


@pytest.mark.parametrize("form", [*WITH_A_BLANK, *TABLES])
def test_a_secret_in_a_command_a_statement_or_a_column_is_found(form: str) -> None:
    """A blank or a column tells as much as an equals sign, if the value looks made; a mere word does not."""
    for seed in range(10):
        secret = password(seed)
        text = form.format(secret)
        assert secret not in REDACTOR.redact(text)
        assert secret not in str(REDACTOR.scrub(json.dumps({"output": text})))
    assert found(form.format("something")) == []


@pytest.mark.parametrize("form", ASSIGNED)
def test_what_a_name_says_is_a_secret_is_found(form: str) -> None:
    """JSON, YAML, env, INI, code, headers, URLs."""
    for seed in range(10):
        secret = password(seed)
        assert secret not in REDACTOR.redact(form.format(secret))


HONEST = [
    "The token is in the key; ask for a password at the secret meeting.",
    "max_tokens: 4096, prompt_tokens=128, token_type: bearer",
    '{"next_page_token": "CAUQAAxyz0987654", "token_count": 12}',
    "password = os.environ['DB_PASSWORD']",
    "api_key: ${API_KEY}\npassword: {{ vault.password }}\ntoken: <your token>",
    "def login(password: str, token: Optional[str] = None) -> None:",
    "password: required, at least 12 characters",
    '"password": {"type": "string", "description": "The password."}',
    "key: value; primary key: id; foreign key: user_id",
    "See https://example.com/docs/authentication#api-key and http://localhost:8080/",
    "commit a94a8fe5ccb19ba61c4c0873d391e987982fbbd3",
    "id 123e4567-e89b-12d3-a456-426614174000, v1.2.3.4, at 12:30:45",
    "sha256:" + "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "AKIAIOSFODNN7" + "EXAMPLE is the documentation's",
    "ghp_" + "x" * 36,
    "10.0.0.1 and 127.0.0.1 and ::1 and fe80::1 are nobody's",
    "order 1234567890123456, tel. 555-01-99999, 000-12-3456",
    "a@b, @decorator, user@localhost",
    "pat-a-cake, sk-learn, key-value store, scikit-learn-contrib-sk-ant-farm",
    "مرحبا بالعالم، שלום עולם، می\u200cخواهم، हिन्दी, ภาษาไทย, 日本語 ❤️",
    "1. Set password\n2. Click token: next",
    "password = getpass.getpass('Password: ')\ntoken = random.randrange(sys.maxsize)",
    "const token = req.headers.authorization.split(' ')[1];\nlet secret_key = SecretKey::random(&mut rng);",
    "    password=args.password,\n    token=access_token,\n    password: SecretStr\n    secret=b'0'*32,",
    "PWD=/home/user/project\nOLDPWD=/home/user/projects/abc12\ntoken=0x7fff5fbff8c8",
    "Chrome/120.0.0.0 Safari/537.36, version 1.2.3.4, section 8.2.4.44, x[::3], at 12:34:56::",
    "git@github.com:org/repo.git ssh://git@github.com:22/x.git scp user@host.example.com:/x .",
    "https://user@example.com/ https://example.com:8080/@scope/pkg https://medium.com/@user/post",
    "IMEI 490154203237518; Bearer authentication-required-by-server",
    "mysql --password db1 -p 3306 --token-file /run/secrets/token1; mkdir -p a1b2c3d4; docker run -p 8080:80 x",
    "usage: tool --password PASSWORD --token TOKEN_V2 --api-key $API_KEY2 --secret <secret1>",
    "curl -u ada https://example.org; curl -u $USER:$PASS1 https://example.org; git push -u origin:main2",
    "model,prompt_tokens,token\nbig,1200,tok_limit\nsmall,12000,4096\n",
    "| token | meaning |\n|---|---|\n| NUM1 | a number |\n| STR2 | a string |",
    "name,password,since\nada,required,2024-05-01\nbob,optional,2024-05-02\n",
    "from jwt import (\n    PrivateKey,\n    Ed25519PrivateKey,\n    Ed25519PublicKey,\n)",
    "The token is valid. The password is case-sensitive. The secret is version2 of it.",
    "ENV TOKEN_URL https://id.example.org/v2/token\nENV PASSWORD_FILE /run/secrets/db1",
    "SELECT password FROM users WHERE token IN ('a', 'b') -- password 'hint'",
    '{"password": "The password of the user", "forgotPassword": "Did you forget your password?"}',
]


@pytest.mark.parametrize("text", HONEST)
def test_honest_text_is_left_alone(text: str) -> None:
    """Prose and code about secrets, identifiers, digests."""
    assert found(text) == []
    assert REDACTOR.redact(text) == text


@pytest.mark.parametrize("kind", sorted(SPACED))
def test_a_token_with_other_characters_anywhere_is_found_by_each_of_its_words(kind: str) -> None:
    """Whatever else stands in the text: no word is passed over for want of a mark."""
    one = next(one for one in FORMATS if one.kind == kind)
    for word in one.words:
        assert set(_spaced(f"a {word} b")) >= {one}


def test_a_private_key_goes_with_its_whole_block_even_where_that_does_not_end() -> None:
    """Over lines, and written in one line with escapes."""
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASC" * 2 for _ in range(12))
    begin, end = ("-----" + word + " RSA PRIVATE KEY-----" for word in ("BEGIN", "END"))
    for text in (
        f"{begin}\n{body}\n{end}",
        f"{begin}\n{body}",
        f"{begin}\n{body}\n{end}".replace("\n", "\\n"),
    ):
        assert REDACTOR.redact(f"before {text}. after") == "before [REDACTED:private_key]. after"


GENERATED = "".join(map(chr, range(33, 127))).translate(dict.fromkeys(map(ord, "\"'`\\")))


@pytest.mark.parametrize(
    "form", ["DB_PASSWORD={}", "export APP_SECRET={}  # rotated", "  password: {}\n", "db.pwd = {}"]
)
@given(data=st.data())
def test_the_value_of_a_line_goes_to_its_end_whatever_signs_are_in_it(form: str, data: st.DataObject) -> None:
    """As generators make them; what programs have in such a place is told by its shape."""
    signs = data.draw(st.text(GENERATED, min_size=6, max_size=12))
    assume("=" not in signs and "</" not in signs)
    secret = f"4kR{signs}zQ9"
    assume(not is_placeholder(secret))
    assert secret not in REDACTOR.redact(form.format(secret))


MADE = password(3)
PACKED = base64.b64encode(f"ada:{MADE}".encode()).decode()
LINES = [
    base64.urlsafe_b64encode(bytes(range(at, at + 48))).decode().replace("_", "a").replace("-", "b")
    for at in range(6)
]
BEGIN, END = ("-----" + word + " PRIVATE KEY-----" for word in ("BEGIN", "END"))
PEM = "\n".join([BEGIN, *LINES, END])
ISSUED = token(next(one for one in FORMATS if one.kind == "gitlab_token"))
PACKED_PEM = base64.b64encode(PEM.encode()).decode()


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f'{{"name": "DB_PASSWORD", "value": "{MADE}"}}', MADE),
        (f'{{"key": "API_TOKEN", "masked": true, "value": "{MADE}"}}', MADE),
        (f"- name: DB_PASSWORD\n  value: {MADE}\n", MADE),
        (f'{{"ghcr.io": {{"auth": "{PACKED}"}}}}', PACKED),
        (f"Cookie: theme=dark; sid={MADE}", MADE),
        (f"Set-Cookie: sid={MADE}; HttpOnly", MADE),
        ('{"passphrase": "correct horse battery staple"}', "horse battery"),
        (f"postgres://u:{MADE[:5]}/{MADE[5:]}@h/db", MADE[5:]),
        (f"postgres://u:a#b@{MADE}@h/db", MADE),
        (f"https://{LINES[0][:30]}7@git.example.org/x", LINES[0][:9]),
        ("\n".join([BEGIN, *(f"{at:>4} | {line}" for at, line in enumerate(LINES))]), LINES[3]),
        ("\n".join([BEGIN, *(f"> {line}" for line in LINES)]), LINES[3]),
        (PEM.replace(" PRIVATE KEY", " private key"), LINES[3]),
        (f"  tls.key: {PACKED_PEM}\n", PACKED_PEM[200:220]),
        (f"Private-Lines: 6\n{LINES[0]}\n{LINES[1]}\nPrivate-MAC: 1", LINES[1]),
        (f'{{"kty": "EC", "d": "{LINES[0]}"}}', LINES[0]),
        (f"Signed in with {ISSUED}... done", ISSUED),
        (f"{ISSUED}.example.com", ISSUED),
        (f'{{"a": 1}}\n{{"t": "{ISSUED.replace("l", chr(92) + "u006c")}",}}', ISSUED[-6:]),
        (f"?t={ISSUED.replace('l', '%6C')}", ISSUED[-6:]),
        (f"&#103;{ISSUED[1:]}", ISSUED[-6:]),
    ],
    ids=range(21),
)
def test_a_secret_is_found_in_the_forms_that_files_and_tools_have(text: str, secret: str) -> None:
    """Pairs, packed logins, further cookies, phrases, odd passwords in URLs, keys in parts, encoded letters."""
    assert secret in text
    assert secret not in REDACTOR.redact(text)


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ({"env": [{"value": MADE, "name": "DB_PASSWORD"}]}, MADE),
        ({"password": {"value": MADE}}, MADE),
        ({"password": "correct horse battery staple"}, "horse"),
        ({"headers": [["Authorization", f"Basic {PACKED}"]]}, PACKED),
        ({"Authorization": f"Basic {PACKED}"}, PACKED),
        ({"Cookie": f"theme=dark; sid={MADE}"}, MADE),
        ({"auths": {"ghcr.io": {"auth": PACKED}}}, PACKED),
        ({"lines": PEM.split("\n")}, LINES[4]),
        ({"kty": "oct", "k": LINES[0]}, LINES[0]),
        ({"command": ["tool", "--verbose", "--password", MADE]}, MADE),
    ],
    ids=range(10),
)
def test_structured_content_is_read_with_what_stands_beside_a_member(value: Any, secret: str) -> None:
    """Variables, headers, logins, keys; with another name beside them, none of it is changed."""
    assert secret not in json.dumps(REDACTOR.scrub(value))
    honest: Any = {
        "env": [{"name": "GREETING", "value": "hello-12345"}],
        "auth": "required",
        "d": "2026-11-21",
        "args": ["--token", "--verbose", "-password", "ask"],
    }
    assert REDACTOR.scrub(honest) == honest


def test_checksums_tell_a_token_from_what_looks_like_one() -> None:
    """One that fits outweighs the stop list; one that does not is no proof."""
    body = "x" * 30
    rest, digits = binascii.crc32(body.encode()), ""
    while rest:
        rest, digit = divmod(rest, 62)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit] + digits
    proved = "ghp_" + body + digits.rjust(6, "0")
    assert has_crc32(proved)
    assert not has_crc32("ghp_" + "y" * 36)
    assert found(proved) == [proved]
    assert has_bech32("A12UEL5L")  # BIP 173, a test vector
    assert not has_bech32("A12UEL5M")
    assert is_jwt("eyJhbGciOiJIUzI1NiJ9.x.y")
    assert not is_jwt("eyJmb28iOiJiYXIifQ.x.y")


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("email", "Ask <ada.l+x@mail.example.co.uk>.", "ada.l+x@mail.example.co.uk"),
        ("card", "card 4111 1111 1111 1111, thanks", "4111 1111 1111 1111"),
        ("card", "5500-0000-0000-0004", "5500-0000-0000-0004"),
        ("iban", "IBAN DE89 3704 0044 0532 0130 00 please", "DE89 3704 0044 0532 0130 00"),
        ("iban", "GB82WEST12345698765432", "GB82WEST12345698765432"),
        ("card", "\\n4111 1111 1111 1111", "4111 1111 1111 1111"),
        ("ssn", "SSN: 123-45-6789.", "123-45-6789"),
        ("ip", "from 8.8.8.8 today", "8.8.8.8"),
        ("ip", "from 193.99.144.80.", "193.99.144.80"),
        ("ip", "at 2001:4860:4860::8888", "2001:4860:4860::8888"),
        ("phone", "call +1 (415) 555-2671", "+1 (415) 555-2671"),
    ],
)
def test_personal_data_is_found_by_its_form(kind: str, text: str, expected: str) -> None:
    """With the checksum or rules it has."""
    [one] = personal(text, [kind])  # type: ignore[list-item]
    assert text[one.start : one.end] == expected


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",
        "DE89 3704 0044 0532 0130 01",
        "666-45-6789",
        "923-45-6789",
        "123-00-6789",
        "300.1.2.3",
        "commit 9e4111111111111111c0",
        "4111111111111111b7",
    ],
)
def test_what_fails_its_rules_is_not_personal_data(text: str) -> None:
    """Numbers are many."""
    assert list(personal(text, list(KINDS))) == []


@given(st.ip_addresses(), st.booleans(), st.sampled_from(["", "from ", "at 12:30:20, ", "x::y ", "日本 "]))
def test_every_public_address_is_found(address: Any, is_long: bool, before: str) -> None:
    """However it is written, and whatever with colons stands before it; `add::` is a word of programs."""
    written = address.exploded if is_long else str(address)
    assume(not written.endswith("::"))
    assert found(f"{before}{written}, and so on") == ([written] if address.is_global else [])


def test_findings_that_overlap_become_one() -> None:
    """So that no part of either is left."""
    assert merged([Finding(5, 9, "b"), Finding(0, 6, "a"), Finding(2, 3, "c"), Finding(9, 10, "d")]) == [
        Finding(0, 9, "a"),
        Finding(9, 10, "d"),
    ]


PIECES = st.sampled_from(
    [
        *(
            "password",
            "token",
            "=",
            ":",
            '"',
            "'",
            "\\",
            " ",
            "\n",
            "://",
            "@",
            "a:b@c",
            "{",
            "}",
            "[",
            "&x=",
            "hunter22!",
        ),
        *("Bearer ", "-----BEGIN PRIVATE KEY-----", "-----END", "4111111111111111", "é", "\ud800", "<", ">"),
        *(token(one) for one in FORMATS[::9]),
    ]
)


@given(st.lists(PIECES, max_size=12).map("".join))
def test_redacting_twice_is_redacting_once(text: str) -> None:
    """What is put in a place is never found again."""
    once = REDACTOR.redact(text)
    assert REDACTOR.redact(once) == once


HOSTILE = [
    *(
        "token",
        "token=",
        'password="',
        "password: \\",
        "://",
        "://a:",
        "a@",
        "a.",
        "1",
        "1 ",
        "1.",
        ":1",
        "AA11",
    ),
    *(
        "-----BEGIN PRIVATE KEY-----",
        "eyJ",
        "sk-",
        "ghp_",
        "AKIA",
        "_",
        "x" * 40 + " ",
        "\\",
        "Bearer ",
        "+1",
    ),
    *("sk-" + "a" * 20, "secret_" * 3, "password\n", "key=" + "a" * 50),
    *(
        "%41",
        "\\u0041",
        "&#65;",
        "LS0tLS1CRUdJTi",
        '"kty","d":"',
        'auth="',
        'token", "',
        "pwd\n value:",
        "://a:b@",
    ),
    *(
        "password,x1\n",
        "| password | a |\n",
        " --password ",
        " -u a:",
        "mysql ",
        "with password ",
        "password '",
    ),
    *("::", "1::1 ", "1:2:3:4:5:6:7:", "1.1.1.1 ", "9.9.9.9."),
]


@pytest.mark.parametrize("piece", HOSTILE, ids=ascii)
def test_time_grows_with_length_and_no_faster(piece: str) -> None:
    """Sixteen times the text takes less than a hundred times the time: quadratic would be 256 times."""

    def took(count: int) -> float:
        best = float("inf")
        for _ in range(2):
            began = time.process_time()
            REDACTOR.find(piece * count)
            best = min(best, time.process_time() - began)
        return best

    length = 8_000 // len(piece)
    assert took(16 * length) < 100 * max(took(length), 1e-3)
