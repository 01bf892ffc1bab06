// The product catalogue that market-brief.yaml searches: node config/samples/catalog.mjs [PORT]
import { createServer } from "node:http";

const products = ["HX 200: 2 MW at 120 degrees", "Thermon T4: 500 kW at 160 degrees", "NordHeat 9: 5 MW at 90 degrees"];

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url ?? "/", "http://catalog");
  const found = pathname === "/search" && searchParams.has("q");
  response.writeHead(found ? 200 : 404, { "content-type": "application/json" });
  response.end(JSON.stringify(found ? { query: searchParams.get("q"), products } : { error: "GET /search?q=…" }));
});
server.listen(Number(process.argv[2] ?? 8098), "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/search`);
});
