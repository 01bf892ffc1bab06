"""The execution hash once more, from docs/execution-hash.md alone: a line {"spec": …, "rules": […]} in, a line with the six digests out."""
import hashlib, json, sys
from decimal import Decimal

FREE = {"input", "parameters", "inputSchema", "outputSchema", "arguments"}
NOT_OF_NODES = {"retry", "timeoutSeconds", "budget", "image", "resources", "nodeSelector", "tolerations"}

def number(value):  # RFC 8785 = ECMAScript's Number::toString; Python's repr has the same digits in another layout
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

def digest(value): return "sha256:" + hashlib.sha256(jcs(value).encode()).hexdigest()
def without(value, fields): return {key: value[key] for key in value if key not in fields}

def normal(value):
    if isinstance(value, dict):
        return {k: v if k in FREE else normal(v) for k, v in value.items() if v is not None}
    if not isinstance(value, list): return value
    items = [normal(item) for item in value]
    named = all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items)
    return sorted(items, key=lambda item: item["name"].encode("utf-16-be")) if named else items

def node(value):
    kept = without(value, NOT_OF_NODES)
    if "forEach" in kept: kept["forEach"] = without(kept["forEach"], {"maxParallel"})
    if "approval" in kept: kept["approval"] = without(kept["approval"], {"timeoutSeconds"})
    return kept

def execution_hash(spec, rules):
    spec, rules = normal(spec), {digest(normal(each)): normal(each) for each in rules}
    nodes, last = spec.get("nodes", []), spec.get("finally", [])
    task = {"task": spec["task"], "nodes": [node(each) for each in nodes], "finally": [node(each) for each in last]}
    images = {each["name"]: each["image"] for each in nodes + last if "image" in each}
    parts = {
        "task": {**task, "input": spec["input"]} if "input" in spec else task,
        "policy": [rules[key] for key in sorted(rules)],
        "agents": {"agents": spec.get("agents", []), "models": spec.get("models", [])},
        "tools": [without(each, {"timeoutSeconds"}) for each in spec.get("tools", [])],
        "runtime": {"images": images, "journalFormat": 1},
    }
    hashes = {part: digest(parts[part]) for part in parts}
    return {"executionHash": digest(hashes), "hashParts": hashes}

for line in sys.stdin:
    print(json.dumps(execution_hash(**json.loads(line))))
