// Maintenance, after `npm install`: `node hack/start.mjs hack/complete-lockfile.ts`.
//
// A registry mirror may lack the binaries for other platforms. `npm install` then leaves these optional packages out of
// package-lock.json, and `npm ci` refuses such a lockfile on every machine. This adds an entry for each, from its name and
// the version that its parent asks for; without a checksum, which npm then takes from the registry of whoever needs it.
import { readFileSync, writeFileSync } from "node:fs";

interface Entry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const path = new URL("../package-lock.json", import.meta.url);
const lockfile: { packages: Record<string, Entry> } = JSON.parse(readFileSync(path, "utf8"));

const SYSTEMS = /\b(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)\b/;
const PROCESSORS = /-(arm64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|wasm32|x64)\b/;

function platformOf(name: string): Record<string, string[]> {
  const os = SYSTEMS.exec(name)?.[1];
  const cpu = PROCESSORS.exec(name)?.[1];
  if (os === undefined || cpu === undefined)
    throw new Error(`${name} names no platform: add it to package-lock.json by hand`);
  const libc = os !== "linux" ? undefined : /musl/.test(name) ? "musl" : /gnu/.test(name) ? "glibc" : undefined;
  return { os: [os], cpu: [cpu], ...(libc === undefined ? {} : { libc: [libc] }) };
}

const missing: Record<string, Entry> = {};
for (const parent of Object.values(lockfile.packages)) {
  for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
    const place = `node_modules/${name}`;
    if (Object.keys(lockfile.packages).some((key) => key.endsWith(place))) continue;
    missing[place] = { version, ...(parent.dev ? { dev: true } : {}), optional: true, ...platformOf(name) } as Entry;
  }
}

const [root, ...others] = Object.entries({ ...lockfile.packages, ...missing });
const sorted = others.sort(([a], [b]) => a.localeCompare(b, "en"));
lockfile.packages = Object.fromEntries(root === undefined ? sorted : [root, ...sorted]);
writeFileSync(path, `${JSON.stringify(lockfile, null, 2)}\n`);
console.log(`package-lock.json: ${Object.keys(missing).length} entries added`);
