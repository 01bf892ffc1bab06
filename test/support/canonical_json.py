"""Canonical JSON (RFC 8785) and SHA-256 with nothing but the standard library."""
import hashlib, json
from decimal import Decimal

def number(value):  # ECMAScript's Number::toString; Python's repr has the same digits in another layout
    sign, digits, exp = Decimal(repr(float(value))).normalize().as_tuple()
    text, k, n = "".join(map(str, digits)), len(digits), len(digits) + exp
    if text == "0": return "0"
    if k <= n <= 21: text += "0" * (n - k)
    elif 0 < n <= 21: text = text[:n] + "." + text[n:]
    elif -6 < n <= 0: text = "0." + "0" * -n + text
    else: text = text[0] + ("." + text[1:] if k > 1 else "") + "e" + ("+" if n > 0 else "-") + str(abs(n - 1))
    return "-" * sign + text

def jcs(value):
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(jcs(key) + ":" + jcs(value[key]) for key in keys) + "}"
    if isinstance(value, list): return "[" + ",".join(map(jcs, value)) + "]"
    if isinstance(value, (int, float)) and not isinstance(value, bool): return number(value)
    return json.dumps(value, ensure_ascii=False)

def sha256(text): return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
def digest(value): return sha256(jcs(value))
