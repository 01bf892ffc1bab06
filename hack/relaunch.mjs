import { spawn } from "node:child_process";

/**
 * Runs `nodePath args…` in this process's place: same terminal, same directory, same environment. Forwards SIGINT, SIGTERM
 * and SIGHUP, and ends as the child ended (exit code, or the same signal). The child dies with this process.
 * @param {string} nodePath the Node.js to run
 * @param {string[]} args the script and its arguments
 */
export function relaunch(nodePath, args) {
  const follow = new URL("./follow-parent.mjs", import.meta.url).href;
  const child = spawn(nodePath, ["--import", follow, ...args], { stdio: ["inherit", "inherit", "inherit", "ipc"] });
  // A terminal sends Ctrl-C to the whole process group: forwarding it as well would deliver it twice.
  const onTerminal = process.stdin.isTTY === true;
  const forward = (signal) => {
    if (!(signal === "SIGINT" && onTerminal)) child.kill(signal);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) process.on(signal, forward);
  child.once("error", (error) => {
    console.error(`cannot start ${nodePath}: ${error.message}`);
    process.exit(126);
  });
  child.once("exit", (code, signal) => {
    if (signal === null) process.exit(code ?? 1);
    for (const name of signals) process.off(name, forward);
    process.kill(process.pid, signal);
    setInterval(() => {}, 1000); // the signal ends this process; until it arrives there must be something to wait for
  });
}
