import { findProgram } from "./debian-program.ts";

/** The path of a Chromium, installed from the distribution if need be; empty, with a line on the terminal, where there is none. */
export function findChromium(): string {
  const names = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
  return findProgram(names, "chromium") ?? "";
}
