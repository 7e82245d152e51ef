"""The certificate that HTTP and WebSocket show: whether it can be used, and for how long yet."""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dejavud.errors import InvalidConfig
from dejavud.interfaces.tls import Tls
from dejavud.wire.findings import FAIL, OK, WARN, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dejavud.config import Config

SOON_DAYS = 14
_MEND = "renew it (certbot renew), then: dejavuctl reload"
_TIMES = re.compile(rb"\x30.(\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)(\x17\x0d\d{12}Z|\x18\x0f\d{14}Z)", re.DOTALL)
"""The validity of a certificate as DER has it (RFC 5280, 4.1.2.5): two times, each a UTCTime or a GeneralizedTime, to the second."""


def certificate(config: Config) -> Iterator[Finding]:
    """Yield how the certificate is, nothing where there is none."""
    if not config.tls.certificate:
        return
    path = Path(config.tls.certificate)
    try:
        Tls(path, Path(config.tls.key))
    except InvalidConfig as error:
        yield Finding("certificate", FAIL, error.message, "put [tls] in the conf right; then: dejavud --check-config")
        return
    ends_at = end_of(path.read_text("ascii"))
    left_days = (ends_at - datetime.now(UTC)).total_seconds() / 86400
    said = f"{path} is good until {ends_at:%Y-%m-%d %H:%M} UTC"
    if left_days < 0:
        yield Finding("certificate", FAIL, f"{path} ended at {ends_at:%Y-%m-%d %H:%M} UTC: clients refuse it", _MEND)
    elif left_days < SOON_DAYS:
        yield Finding("certificate", WARN, f"{said}: {int(left_days)} days", _MEND)
    else:
        yield Finding("certificate", OK, said)


def end_of(pem: str) -> datetime:
    """Return when the first certificate of a PEM file ends; raises ValueError where there is none."""
    begin, end = pem.index(ssl.PEM_HEADER), pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    found = _TIMES.search(ssl.PEM_cert_to_DER_cert(pem[begin:end]))
    if found is None:
        msg = "this certificate does not say how long it is good"
        raise ValueError(msg)
    text = found[2][2:].decode("ascii")
    century = "" if len(text) == len("YYYYMMDDHHMMSSZ") else "20" if int(text[:2]) < 50 else "19"  # noqa: PLR2004 - RFC 5280
    return datetime.strptime(century + text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
