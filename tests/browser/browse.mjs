// What every story has: a Chromium of its own, and an account of what went over the wire. It is told facts on its input,
// and says in one line of JSON what came of it.

import { text } from "node:stream/consumers";
import { chromium } from "playwright-core";

export async function browse(story) {
  const facts = JSON.parse(await text(process.stdin));
  const browser = await chromium.launch({ executablePath: facts.chromium, args: ["--no-proxy-server"] });
  try {
    const context = await browser.newContext();
    context.setDefaultTimeout(facts.patienceMs);
    const wire = [];
    context.on("response", (answer) => wire.push(noted(answer)));
    const page = await context.newPage();
    const failed = [];
    page.on("pageerror", (error) => failed.push(String(error)));
    const told = await story({ context, page, facts, wire });
    console.log(JSON.stringify({ ...told, failed }));
  } finally {
    await browser.close();
  }
}

// Of an answer: what it was to, its status, and all that a page might find in it.
async function noted(answer) {
  const headers = await answer.headersArray().catch(() => []);
  const body = await answer.text().catch(() => ""); // of a redirect there is none
  return { method: answer.request().method(), url: answer.url(), status: answer.status(), headers, body };
}

// Asks as a script of the page does: the status, and the answer where the page may read it.
export function asks(page, url, options = {}) {
  return page.evaluate(
    async ([url, options]) => {
      try {
        const answer = await fetch(url, options);
        return { status: answer.status, kind: answer.type, text: await answer.text() };
      } catch (error) {
        return { status: 0, kind: "refused", text: String(error) };
      }
    },
    [url, options],
  );
}
