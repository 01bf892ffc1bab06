"""The execution hash once more, from docs/execution-hash.md alone: a line {"spec": …, "rules": […]} in, a line with the six digests out."""
import json, os, sys
sys.path.append(os.path.join(os.path.dirname(__file__), "../../support"))
from canonical_json import digest

FREE = {"input", "parameters", "inputSchema", "outputSchema", "arguments"}
NOT_OF_NODES = {"retry", "timeoutSeconds", "budget", "image", "resources", "nodeSelector", "tolerations"}

def without(value, *fields): return {key: value[key] for key in value if key not in fields}
def normal(value):
    if isinstance(value, dict): return {k: v if k in FREE else normal(v) for k, v in value.items() if v is not None}
    if not isinstance(value, list): return value
    items = [normal(item) for item in value]
    named = all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items)
    return sorted(items, key=lambda item: item["name"].encode("utf-16-be")) if named else items
def node(value):
    kept = without(value, *NOT_OF_NODES)
    inner = {"forEach": "maxParallel", "approval": "timeoutSeconds"}
    return {**kept, **{field: without(kept[field], inner[field]) for field in inner if field in kept}}
def execution_hash(spec, rules):
    spec, rules = normal(spec), {digest(normal(each)): normal(each) for each in rules}
    main, last = spec.get("nodes", []), spec.get("finally", [])
    asked = {key: spec[key] for key in ("task", "input") if key in spec}
    hashes = {part: digest(value) for part, value in {
        "task": {**asked, "nodes": [*map(node, main)], "finally": [*map(node, last)]},
        "policy": [rules[key] for key in sorted(rules)],
        "agents": {"agents": spec.get("agents", []), "models": spec.get("models", [])},
        "tools": [without(each, "timeoutSeconds") for each in spec.get("tools", [])],
        "runtime": {"images": {each["name"]: each["image"] for each in main + last if "image" in each}, "journalFormat": 1}}.items()}
    return {"executionHash": digest(hashes), "hashParts": hashes}

for line in sys.stdin: print(json.dumps(execution_hash(**json.loads(line))))
