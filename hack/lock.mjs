import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";

const POLL_MS = 200;
/** A holder on another host (a checkout shared with a container) cannot be asked: its lock counts as left behind after this. */
const FOREIGN_LOCK_MAX_MS = 15 * 60_000;

/**
 * Runs `work` while holding the lock file; waits for whoever holds it, and takes it over from a process that is gone.
 * The file is created whole (a link to a written file), so that no one ever reads a lock without an owner.
 * @template T
 * @param {string} path the lock file
 * @param {() => Promise<T> | T} work
 * @param {(owner: string) => void} onWait called once if someone else holds the lock
 * @returns {Promise<T>}
 */
export async function withLock(path, work, onWait = () => {}) {
  mkdirSync(dirname(path), { recursive: true });
  const me = `${process.pid} ${hostname()}`;
  for (let told = false; !tryTake(path, me); ) {
    const owner = readOwner(path);
    if (owner === undefined || removeIfStale(path, owner)) continue;
    if (!told) onWait(owner);
    told = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const release = () => readOwner(path) === me && rmSync(path, { force: true });
  process.once("exit", release);
  try {
    return await work();
  } finally {
    process.off("exit", release);
    release();
  }
}

function tryTake(path, me) {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, me);
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    if (error.code === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(own, { force: true });
  }
}

function readOwner(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** Whether the lock was removed. Renamed first: of two that find it stale, only one may remove it. */
function removeIfStale(path, owner) {
  const [pid, host] = owner.split(" ");
  const alive = host === hostname() ? isAlive(Number(pid)) : ageMs(path) < FOREIGN_LOCK_MAX_MS;
  if (alive) return false;
  const taken = `${path}.stale.${process.pid}`;
  try {
    renameSync(path, taken);
    if (readOwner(taken) !== owner) linkSync(taken, path); // someone took it in between: give it back
    rmSync(taken, { force: true });
    return true;
  } catch (error) {
    if (error.code === "ENOENT") return true;
    throw error;
  }
}

function ageMs(path) {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
