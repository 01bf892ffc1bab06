/** `oao ui` as a real program, looked at by a real Chromium. */
import { type Browser, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { type Workplace, workplace } from "../cli/harness.ts";
import { SeededHome } from "./seed.ts";

export interface Stage {
  readonly place: Workplace;
  readonly home: SeededHome;
  /** Starts the server and opens its address. Fails on any error that the page reports or request that leaves this server. */
  open(path?: string, options?: BrowserContextOptions): Promise<Page>;
  /** `http://127.0.0.1:PORT/` and the token. */
  server(): Promise<{ readonly origin: string; readonly token: string }>;
  /** What pages complained of or asked elsewhere for. */
  readonly complaints: string[];
  end(): Promise<void>;
}

export async function stage(): Promise<Stage> {
  const place = workplace();
  const home = new SeededHome(place.folder);
  const complaints: string[] = [];
  let browser: Browser | undefined;
  let server: Promise<{ origin: string; token: string }> | undefined;
  const serve = () => (server ??= startServer(place));
  return {
    place,
    home,
    complaints,
    server: serve,
    open: async (path = "", options = {}) => {
      const { origin, token } = await serve();
      browser ??= await launch();
      const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, ...options });
      const page = await context.newPage();
      page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
      page.on("console", (message) => {
        if (["error", "warning"].includes(message.type())) complaints.push(`console: ${message.text()}`);
      });
      page.on("request", (request) => {
        if (!request.url().startsWith(origin)) complaints.push(`asked for ${request.url()}`);
      });
      await page.goto(`${origin}${path}#${token}`);
      return page;
    },
    end: async () => {
      await browser?.close();
      await home.close();
      await place.end();
    },
  };
}

async function startServer(place: Workplace): Promise<{ origin: string; token: string }> {
  const started = place.start(["ui", "--no-open", "--on", "local"]);
  await started.said("Ctrl-C ends it");
  const [, origin, token] = /(http:\/\/127\.0\.0\.1:\d+\/)#(\S+)/.exec(started.text()) ?? [];
  if (origin === undefined || token === undefined) throw new Error(`no address in ${started.text()}`);
  return { origin, token };
}

function launch(): Promise<Browser> {
  const executablePath = process.env["OAO_CHROMIUM"] ?? "";
  if (executablePath === "") throw new Error("OAO_CHROMIUM names no browser: npm test and npm run bench find one");
  // As root there is no sandbox to be had; a browser that asks for updates would leave this machine.
  const args = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  return chromium.launch({ executablePath, args });
}
