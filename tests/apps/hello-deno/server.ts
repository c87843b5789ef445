// Answers every request with the contents of VERSION, and /span with what a package of npm makes of a text.
import ms from "ms";

const version = Deno.readTextFileSync("VERSION");
Deno.serve({ hostname: "0.0.0.0", port: Number(Deno.env.get("PORT")) }, (request) => {
  const path = new URL(request.url).pathname;
  return new Response(path === "/span" ? String(ms("2 days")) : version);
});
