import { fileURLToPath } from "node:url";
import { checkLayering } from "./layering.ts";

const violations = checkLayering(fileURLToPath(new URL("..", import.meta.url)));
for (const { file, line, message } of violations) console.log(`${file}:${line} ${message}`);
process.exitCode = violations.length === 0 ? 0 : 1;
