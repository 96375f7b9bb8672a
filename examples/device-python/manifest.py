"""What a device believes, in the order of docs/device-protocol.md: who signed the exact bytes, the strict form, then what they say.
`python3 manifest.py MANIFEST SIGNATURE…` says of files, two by two, whether the key in TRUSTED_KEY makes them believed."""

import json, os, re, sys
from datetime import datetime, timezone
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

class Refused(Exception):
    """Why a manifest or what it is of is not taken, as a code."""

def refuse_if(reason, is_wrong):
    if is_wrong:
        raise Refused(reason)

def is_signed(content, signature, key_file):
    key = load_pem_public_key(Path(key_file).read_bytes())
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, content)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, content, ec.ECDSA(SHA256()))  # as a DER sequence
        else:
            key.verify(signature, content, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        return True
    except InvalidSignature:
        return False

VERSION = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?"
TIME = r'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"'
TEXTS = r'"[^"]+"(,"[^"]+"){0,99}'
# The members and the forms of their values as JSON without blanks. This device has no applications, and so it knows no `kind`.
FORMS = {"type": r'"ota\.v1\.firmware-manifest"', "product": r'"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"', "version": f'"{VERSION}"',
    "security_counter": r"0|[1-9]\d*", "security_fix": "true|false", "sha256": '"[0-9a-f]{64}"', "size_bytes": r"[1-9]\d*",
    "device_types": rf"\[{TEXTS}\]", "hardware_models": rf"\[({TEXTS})?\]", "min_current_version": f'"({VERSION})?"',
    "downgrade_from": f'"{VERSION}"', "created": TIME, "expires": f"{TIME}|null"}

def once(pairs):
    refuse_if("INVALID_MANIFEST", len({name for name, _ in pairs}) < len(pairs))
    return dict(pairs)

def parse(content):
    try:
        signed = json.loads(content.decode(), object_pairs_hook=once)
        for name, value in ({"downgrade_from": "0.0.0-0"} | signed).items():
            # A member that it does not know may be a restriction that it would overlook.
            form = FORMS[name] if not name.startswith("info_") else ".*"
            text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
            refuse_if("INVALID_MANIFEST", not re.fullmatch(form, text, re.ASCII | re.DOTALL))
            if name in ("created", "expires") and value:
                datetime.fromisoformat(value[:19])  # there is such a day
        lists = [signed["device_types"], signed["hardware_models"]]
        refuse_if("INVALID_MANIFEST", b"\\" in content or len(content) > 65536 or FORMS.keys() - signed.keys() - {"downgrade_from"}
            or signed["security_counter"] >= 2**31 or signed["size_bytes"] >= 2**53 or any(len(set(each)) < len(each) for each in lists))
        return signed
    except (ValueError, LookupError, AttributeError, TypeError) as error:
        raise Refused("INVALID_MANIFEST") from error

def verified(content, signatures, key_file):
    """The manifest that the trusted key signed. Nothing of it is read before."""
    refuse_if("SIGNATURE_INVALID", not any(is_signed(content, each, key_file) for each in signatures))
    return parse(content)

def believed(offer, device, version, memory):
    """The manifest of an offer for this device, which is told who it is, runs `version`, and remembers what ran and its counter."""
    signed = verified(offer.manifest, [each.signature for each in offer.signatures], device["TRUSTED_KEY"])
    refuse_if("FIRMWARE_EXPIRED", signed["expires"] and signed["expires"] < datetime.now(timezone.utc).isoformat())
    refuse_if("MANIFEST_MISMATCH", (signed["version"], signed["sha256"]) != (offer.version, offer.sha256))
    refuse_if("WRONG_PRODUCT", signed["product"] != device["PRODUCT"])
    refuse_if("WRONG_DEVICE_TYPE", device["DEVICE_TYPE"] not in signed["device_types"])
    refuse_if("WRONG_HARDWARE_MODEL", signed["hardware_models"] and device["HARDWARE_MODEL"] not in signed["hardware_models"])
    refuse_if("VERSION_TOO_OLD", is_older(version, signed["min_current_version"] or version))
    refuse_if("SECURITY_COUNTER_TOO_LOW", signed["security_counter"] < memory["counter"])
    # Back only to what ran here before, or to what the signers let it go back to.
    may_go_back = signed["version"] in memory["ran"] or not is_older(signed.get("downgrade_from", "0.0.0-0"), version)
    refuse_if("DOWNGRADE_REFUSED", is_older(signed["version"], version) and not may_go_back)
    return signed

def is_older(a, b):
    """Semantic versions: numbers sort before texts, and a pre-release before its release."""
    def key(text):
        core, _, pre = text.partition("+")[0].partition("-")
        parts = [(0, int(each), "") if each.isdigit() else (1, 0, each) for each in pre.split(".")] if pre else [(2, 0, "")]
        return [int(each) for each in core.split(".")], parts
    return key(a) < key(b)

if __name__ == "__main__":
    for manifest, signature in zip(sys.argv[1::2], sys.argv[2::2]):
        try:
            verified(Path(manifest).read_bytes(), [Path(signature).read_bytes()], os.environ["TRUSTED_KEY"])
            print("believed")
        except Refused as refusal:
            print(refusal)
