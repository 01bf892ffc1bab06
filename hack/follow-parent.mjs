// Preloaded into a relaunched process. The channel closes when the launcher dies, also by SIGKILL, which no handler of the
// launcher could pass on: without this a killed `oao` would leave its real process, and its workers, running.
if (process.channel !== undefined) {
  process.once("disconnect", () => process.kill(process.pid, "SIGKILL"));
  process.channel.unref();
}
