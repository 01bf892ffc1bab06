// Stands in for the worker program where only the handling of processes is tested. The node's name says what it does.
const order = JSON.parse(process.env.OAO_ORDER);
const [verb, argument] = order.node.split("-");
const verbs = {
  exit: () => process.exit(Number(argument)),
  env: () => {
    console.log(JSON.stringify({ env: process.env, cwd: process.cwd(), argv: process.argv.slice(2) }));
    process.exit(0);
  },
  print: () => {
    for (let line = 0; line < Number(argument); line += 1) console.log(`${String(line).padStart(9, "0")} ${"x".repeat(89)}`);
    process.stdout.write("", () => process.exit(0));
  },
  throw: () => {
    console.log(JSON.stringify({ level: "info", msg: "OAO's own line" }));
    throw new Error(`${argument} ${process.env.OAO_SECRET_LLM_KEY} ${"y".repeat(300)}`);
  },
  // Loaded when somebody says so, by removing a file.
  load: async () => {
    console.log("loading");
    const { existsSync } = await import("node:fs");
    while (existsSync(`${process.env.OAO_BASE_DIR}/hold`)) await new Promise((resolve) => setTimeout(resolve, 5));
    process.send("ready");
    console.log("ready");
  },
  polite: () => {
    process.on("SIGTERM", () => process.exit(13));
    console.log("ready");
  },
  deaf: () => {
    process.on("SIGTERM", () => console.log("no"));
    console.log("ready");
  },
  // Follows its parent, as the worker does.
  follow: () => {
    process.on("disconnect", () => {
      console.log("alone");
      process.exit(13);
    });
    console.log("ready");
  },
  // Cannot notice anything.
  loop: () => {
    console.log("ready");
    for (;;);
  },
};
verbs[verb]();
setInterval(() => {}, 1_000_000);
