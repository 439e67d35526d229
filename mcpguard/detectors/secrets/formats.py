"""What tokens look like: formats that issuers document, or that their tokens show by a prefix made for it.

A format has a word that is in every token of it, so that most texts are told to hold none without a pattern.
Patterns have no nested repetition and never give back what they took: their time is that of reading once.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from mcpguard.detectors.secrets.checksums import has_bech32, has_crc32, is_jwt

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True)
class Format:
    """One issuer's format.

    Args:
        kind: What findings call it.
        words: One of these is in every token of the format, as it is written.
        body: The pattern; it begins where a word of letters and digits begins.
        proves: Whether a token carries a checksum that fits: then it is one, whatever it looks like.
        requires: Whether a match is one at all.
    """

    kind: str
    words: tuple[str, ...]
    body: str
    proves: Callable[[str], bool] | None = None
    requires: Callable[[str], bool] | None = None

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Compiled when first needed: few texts need any."""
        return re.compile(self.body)


def _f(
    kind: str,
    words: str,
    body: str,
    proves: Callable[[str], bool] | None = None,
    requires: Callable[[str], bool] | None = None,
) -> Format:
    return Format(kind, tuple(words.split()), body, proves, requires)


_W: Final = r"[A-Za-z0-9_-]"
_A: Final = r"[A-Za-z0-9]"
_H: Final = r"[0-9a-f]"
_UUID: Final = rf"{_H}{{8}}-{_H}{{4}}-{_H}{{4}}-{_H}{{4}}-{_H}{{12}}"

FORMATS: Final = (
    _f("1password_service_token", "ops_eyJ", rf"ops_eyJ{_W}{{200,}}+=*"),
    _f("adafruit_key", "aio_", rf"aio_{_A}{{28}}"),
    _f("age_key", "AGE-SECRET-KEY-1", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}", has_bech32),
    _f("airtable_token", "pat", rf"pat{_A}{{14}}\.{_H}{{64}}"),
    _f("alibaba_key", "LTAI", rf"LTAI{_A}{{12,20}}+"),
    _f("anthropic_key", "sk-ant-", rf"sk-ant-{_W}{{32,}}+"),
    _f("artifactory_key", "AKCp cmVmdGtuOj", rf"(?:AKCp{_A}{{69}}|cmVmdGtuOj{_A}{{54}})"),
    _f("atlassian_token", "ATATT3 ATCTT3 ATBB", rf"(?:AT[AC]TT3[A-Za-z0-9_=-]{{60,}}+|ATBB{_A}{{32}})"),
    _f("aws_bedrock_key", "ABSK", r"ABSK[A-Za-z0-9+/]{100,}+=*"),
    _f("aws_key_id", "AKIA ASIA ABIA ACCA", r"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}"),
    _f("azure_client_secret", "8Q~ 7Q~", r"[A-Za-z0-9_~.]{3}[78]Q~[A-Za-z0-9_~.-]{31,34}+"),
    _f("azure_devops_token", "AZDO", rf"{_A}{{76}}AZDO{_A}{{4}}"),
    _f("brevo_key", "xkeysib-", rf"xkeysib-{_H}{{64}}-{_A}{{16}}"),
    _f("buildkite_token", "bkua_", rf"bkua_{_H}{{40}}"),
    _f("circleci_token", "CCIPAT_ CCIPRJ_", rf"CCIP(?:AT|RJ)_{_A}{{22}}_{_H}{{40}}"),
    _f("clojars_token", "CLOJARS_", r"CLOJARS_[a-z0-9]{60}"),
    _f("cloudflare_origin_key", "v1.0-", rf"v1\.0-{_H}{{24}}-{_H}{{146}}"),
    _f("contentful_token", "CFPAT-", rf"CFPAT-{_W}{{43}}"),
    _f("crates_io_token", "cio", rf"cio{_A}{{32}}"),
    _f("databricks_token", "dapi", rf"dapi{_H}{{32}}(?:-\d)?"),
    _f("deno_token", "ddp_ ddo_", rf"dd[po]_{_A}{{36}}"),
    _f("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", rf"do[por]_v1_{_H}{{64}}"),
    _f("discord_token", ".", rf"[MNO]{_W}{{23,27}}+\.{_W}{{6}}\.{_W}{{27,38}}+"),
    _f("discord_webhook", "api/webhooks/", rf"api/webhooks/\d{{17,20}}+/{_W}{{60,72}}+"),
    _f("docker_token", "dckr_pat_ dckr_oat_", rf"dckr_[po]at_{_W}{{27,}}+"),
    _f("doppler_token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[A-Za-z0-9._-]{40,}+"),
    _f("duffel_token", "duffel_", rf"duffel_(?:test|live)_{_W}{{43}}"),
    _f("dynatrace_token", "dt0", r"dt0[a-z]\d\d\.[A-Z0-9]{24}\.[A-Z0-9]{64}"),
    _f("easypost_key", "EZAK EZTK", rf"EZ[AT]K{_A}{{54}}"),
    _f("elevenlabs_key", "sk_", rf"sk_{_H}{{48}}"),
    _f("figma_token", "figd_ figo_", rf"fig[do]_{_W}{{40,}}+"),
    _f("flutterwave_key", "FLWSECK", r"FLWSECK(?:_TEST)?-[A-Za-z0-9]{12,}+(?:-X)?"),
    _f("fly_token", "fo1_ fm1 fm2_", rf"(?:fo1_{_W}{{43}}|fm[12][ar]?_[A-Za-z0-9+/=,_-]{{80,}}+)"),
    _f("frameio_token", "fio-u-", r"fio-u-[A-Za-z0-9_=-]{64}"),
    _f("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", rf"gh[pousr]_{_A}{{36,}}+", has_crc32),
    _f("github_fine_grained_token", "github_pat_", rf"github_pat_{_A}{{22}}_{_A}{{59}}"),
    _f(
        "gitlab_token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glsoat- glimt- glagent- gloas- glffct- glwt-",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|soat|imt|agent|oas|ffct|wt)-[A-Za-z0-9_.-]{20,}+",
    ),
    _f("google_api_key", "AIza", rf"AIza{_W}{{35}}"),
    _f("google_client_secret", "GOCSPX-", rf"GOCSPX-{_W}{{28}}"),
    _f("google_oauth_token", "ya29.", r"ya29\.[A-Za-z0-9._-]{20,}+"),
    _f("google_refresh_token", "1//0", rf"1//0{_W}{{40,}}+"),
    _f(
        "grafana_token", "glsa_ glc_", rf"(?:glsa_{_A}{{32}}_[0-9A-Fa-f]{{8}}|glc_eyJ[A-Za-z0-9+/]{{80,}}+=*)"
    ),
    _f("groq_key", "gsk_", rf"gsk_{_A}{{48,}}+"),
    _f("hashicorp_vault_token", "hvs. hvb. hvr.", rf"hv[sbr]\.{_W}{{24,}}+"),
    _f("hashicorp_terraform_token", ".atlasv1.", rf"{_A}{{14}}\.atlasv1\.[A-Za-z0-9_=-]{{60,}}+"),
    _f("heroku_key", "HRKU-", rf"HRKU-{_W}{{36,}}+"),
    _f("hubspot_token", "pat-", rf"pat-(?:na|eu)\d-{_UUID}"),
    _f("huggingface_token", "hf_ api_org_", r"(?:hf_|api_org_)[A-Za-z]{34}"),
    _f("jwt", "eyJ", rf"eyJ{_W}{{8,512}}+\.eyJ{_W}{{8,}}+\.{_W}{{16,}}+", None, is_jwt),
    _f("langfuse_key", "sk-lf-", rf"sk-lf-{_UUID}"),
    _f("langsmith_key", "lsv2_", rf"lsv2_(?:pt|sk)_{_H}{{32}}_{_H}{{10}}"),
    _f("linear_token", "lin_api_ lin_oauth_", rf"lin_(?:api|oauth)_{_A}{{40,}}+"),
    _f("mailchimp_key", "-us", rf"{_H}{{32}}-us\d{{1,2}}+"),
    _f("mailgun_key", "key-", rf"key-{_H}{{32}}"),
    _f("mapbox_secret_token", "sk.eyJ", rf"sk\.eyJ{_W}{{20,512}}+\.{_W}{{20,}}+"),
    _f("neon_key", "napi_", r"napi_[a-z0-9]{64}"),
    _f("netlify_token", "nfp_", rf"nfp_{_A}{{36}}"),
    _f("new_relic_key", "NRAK- NRJS- NRII-", rf"NR(?:AK-[A-Z0-9]{{27}}|JS-{_H}{{19}}|II-{_W}{{32}})"),
    _f("notion_token", "ntn_ secret_", rf"(?:ntn_{_A}{{40,}}+|secret_{_A}{{43}})"),
    _f("npm_token", "npm_", rf"npm_{_A}{{36}}", has_crc32),
    _f("nuget_key", "oy2", r"oy2[a-z0-9]{43}"),
    _f("openai_key", "sk-", rf"sk-(?:proj-|svcacct-|admin-|None-)?{_W}{{20,200}}?T3BlbkFJ{_W}{{20,}}+"),
    _f("openai_project_key", "sk-proj- sk-svcacct- sk-admin-", rf"sk-(?:proj|svcacct|admin)-{_W}{{40,}}+"),
    _f("openrouter_key", "sk-or-v1-", rf"sk-or-v1-{_H}{{64}}"),
    _f("perplexity_key", "pplx-", rf"pplx-{_A}{{40,}}+"),
    _f("plaid_token", "access-", rf"access-(?:sandbox|development|production)-{_UUID}"),
    _f("planetscale_token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[A-Za-z0-9_.=-]{32,64}+"),
    _f("posthog_key", "phx_", rf"phx_{_A}{{43,}}+"),
    _f("postman_key", "PMAK-", rf"PMAK-{_H}{{24}}-{_H}{{34}}"),
    _f("prefect_key", "pnu_ pnb_", rf"pn[ub]_{_A}{{36}}"),
    _f("pulumi_token", "pul-", rf"pul-{_H}{{40}}"),
    _f("pypi_token", "pypi-AgE", rf"pypi-AgE{_W}{{50,}}+"),
    _f("readme_key", "rdme_", r"rdme_[a-z0-9]{70}"),
    _f("replicate_token", "r8_", rf"r8_{_A}{{37}}"),
    _f("resend_key", "re_", rf"re_{_A}{{8}}_{_A}{{24}}"),
    _f("rubygems_key", "rubygems_", rf"rubygems_{_H}{{48}}"),
    _f("sendgrid_key", "SG.", rf"SG\.{_W}{{22}}\.{_W}{{43}}"),
    _f("sentry_token", "sntrys_ sntryu_", rf"(?:sntrys_[A-Za-z0-9+/=_-]{{60,}}+|sntryu_{_H}{{64}})"),
    _f("shippo_token", "shippo_", rf"shippo_(?:live|test)_{_H}{{40}}"),
    _f("shopify_token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[0-9A-Fa-f]{32}"),
    _f("slack_token", "xox xapp- xwfp-", rf"(?:xox[a-z](?:\.xox[a-z])?-|xapp-|xwfp-){_W}{{16,}}+"),
    _f(
        "slack_webhook",
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/]{30,}+",
    ),
    _f("sonar_token", "squ_ sqp_ sqa_", rf"sq[upa]_{_H}{{40}}"),
    _f("sourcegraph_token", "sgp_", rf"sgp_(?:(?:{_H}{{16}}|local)_)?{_H}{{40}}"),
    _f("square_token", "sq0 EAAA", rf"(?:sq0[a-z]{{3}}-{_W}{{22,43}}+|EAAA{_W}{{60}})"),
    _f(
        "stripe_key", "sk_ rk_ whsec_", rf"(?:[sr]k_(?:live|test)_{_A}{{16,}}+|whsec_[A-Za-z0-9+/]{{32,}}+=*)"
    ),
    _f("supabase_token", "sbp_ sb_secret_", rf"(?:sbp_(?:oauth_)?{_H}{{40}}|sb_secret_{_W}{{22,}}+)"),
    _f("tailscale_key", "tskey-", rf"tskey-[a-z]{{3,10}}-{_A}{{10,}}+(?:-{_A}{{20,}}+)?"),
    _f("tavily_key", "tvly-", rf"tvly-(?:dev-|prod-)?{_A}{{32,}}+"),
    _f("telegram_token", ":AA", rf"\d{{8,10}}+:AA{_W}{{33}}"),
    _f("tencent_key", "AKID", rf"AKID{_A}{{32}}"),
    _f("twilio_key", "SK", rf"SK{_H}{{32}}"),
    _f("typeform_token", "tfp_", r"tfp_[A-Za-z0-9_.=-]{40,}+"),
    _f("xai_key", "xai-", rf"xai-{_A}{{70,}}+"),
)
"""In alphabetical order of their issuers."""
