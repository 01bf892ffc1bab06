"""An independent check of a bundle after docs/trace.md: python3 verify_bundle.py FILE prints journalHead and traceHash, or fails.
Of a run that replays no other one."""
import hashlib
import json
import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), "../../support"))
from canonical_json import jcs


def sha(data):
    return hashlib.sha256(data if isinstance(data, bytes) else data.encode()).hexdigest()


def order(path):  # a path that begins with another one comes before it
    return [(number, 0) for number in path] + [(float("inf"), 0)]


raw = open(sys.argv[1], "rb").read().splitlines(keepends=True)
lines = [json.loads(line) for line in raw]
end = lines.pop()
assert end["lines"] == len(lines) and end["run"] == "sha256:" + sha(raw[0])
assert end["digest"] == "sha256:" + sha(b"".join(raw[:-1]))
status, uid = lines[0]["execution"]["status"], lines[0]["execution"]["metadata"]["uid"]
heads, items, before = [], [], None
for line in lines[1:]:
    if line["type"] == "item":
        name = line["node"] if line["item"] is None else "%s[%d]" % (line["node"], line["item"])
        before, entries = sha("%s/%s" % (line["run"] or uid, name)), []
        if line["run"] is None:
            items.append((line, entries))
    elif line["type"] == "entry":
        entry = json.loads(line["bytes"])
        assert sha(line["bytes"]) == line["hash"] and entry["prevHash"] == before and entry["index"] == len(entries)
        entries.append(entry)
        before = line["hash"]
    elif line["type"] == "body":
        assert sha(line["bytes"]) == line["digest"]
    if line["type"] == "entry" and items and items[-1][1] is entries:
        heads = [head for head in heads if head["name"] != name] + [
            {"name": name, "node": items[-1][0]["node"], "item": items[-1][0]["item"], "length": len(entries), "head": before}]
anchor = [{"node": h["node"], "item": -1 if h["item"] is None else h["item"], "length": h["length"], "head": h["head"]} for h in heads]
journal_head = "sha256:" + sha(jcs(sorted(anchor, key=lambda h: (h["node"], h["item"]))))
trace, number = "", 0
for item, entries in items:
    last = max(entry["try"] for entry in entries)
    steps = [entry for entry in entries if entry["type"] == "step" and entry["try"] == last]
    for step in sorted(steps, key=lambda step: order(step["path"])):
        number += 1
        usage = step["usage"] and {unit: step["usage"][unit] for unit in ("input", "output", "total")}
        said = {key: step[key] for key in ("path", "kind", "requestDigest", "occurrence", "outcome", "toolCalls")}
        trace += jcs({"n": number, "node": item["node"], "item": item["item"], **said, "usage": usage,
                      "output": step["output"] and step["output"]["body"]}) + "\n"
trace_hash = "sha256:" + sha(trace)
assert journal_head == status["journalHead"] and trace_hash == status["traceHash"], (journal_head, trace_hash)
print(journal_head, trace_hash)
