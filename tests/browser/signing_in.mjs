// A person signs in at the issuer's page, uses what pages of ours may, meets a page of somebody else's, and signs out.

import { asks, browse } from "./browse.mjs";

const COOKIE = "__Host-cloister-";

await browse(async ({ context, page, facts, wire }) => {
  const { gateway, tenant, mail, password, chat } = facts;
  const ours = { "Content-Type": "application/json", "X-Cloister-Page": "1" };
  const chats = `${gateway}/tenants/${tenant}/v1/chat/completions`;
  const asked = { method: "POST", headers: ours, body: JSON.stringify(chat) };
  const cookies = async () => (await context.cookies()).filter((each) => each.name.startsWith(COOKIE));

  await page.goto(`${gateway}/signin/${tenant}`);
  const issuer = new URL(page.url()).origin;
  await page.fill("[name=username]", mail);
  await page.fill("[name=password]", password);
  await Promise.all([page.waitForURL(`${gateway}/`), page.click("button[type=submit]")]);
  const landed = page.url();
  const [cookie] = await cookies();

  await page.goto(`${gateway}/openapi.json`); // a page of ours that lets scripts ask
  const seenByScripts = await page.evaluate(() => document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage));
  const chatted = await asks(page, chats, asked);
  const withoutHeader = await asks(page, chats, { ...asked, headers: { "Content-Type": "application/json" } });

  // Pages of others, who know all of this: one of another port, to which the cookie goes along, and one of another site.
  const others = {};
  for (const [name, origin] of Object.entries(facts.others)) {
    const there = await context.newPage();
    await there.goto(origin);
    const before = wire.length;
    others[name] = {
      preflighted: await asks(there, chats, { ...asked, credentials: "include" }),
      simple: await asks(there, chats, {
        method: "POST", mode: "no-cors", credentials: "include", body: JSON.stringify(chat), headers: { "Content-Type": "text/plain" },
      }),
      read: await asks(there, `${gateway}/tenants/${tenant}/usage`, { credentials: "include" }),
      out: await asks(there, `${gateway}/signin/${tenant}/out`, { method: "POST", mode: "no-cors", credentials: "include" }),
    };
    await Promise.all([
      there.waitForURL(chats),
      there.evaluate((url) => {
        const form = Object.assign(document.createElement("form"), { method: "POST", action: url, enctype: "text/plain" });
        form.append(Object.assign(document.createElement("input"), { name: '{"model":"demo","x":"', value: '"}' }));
        document.body.append(form);
        form.submit();
      }, chats),
    ]);
    const met = (await Promise.all(wire.slice(before))).filter((each) => each.url.startsWith(`${gateway}/`));
    others[name].chats = met.filter((each) => each.method === "POST" && each.url === chats).map((each) => each.status);
    await there.close();
  }
  const still = await asks(page, `${gateway}/tenants/${tenant}/usage`);

  // Back, to where the code was in the address: it opens nothing twice, and ends nothing.
  await page.goto(`${gateway}/`);
  const callback = (await Promise.all(wire)).find((each) => each.url.startsWith(`${gateway}/signin/callback`)).url;
  const again = await page.goto(callback);
  const againSaid = { status: again.status(), text: await page.textContent("body") };
  await page.goto(`${gateway}/openapi.json`);
  const afterAgain = await asks(page, `${gateway}/tenants/${tenant}/usage`);

  const out = JSON.parse((await asks(page, `${gateway}/signin/${tenant}/out`, { method: "POST", headers: ours })).text);
  const left = await asks(page, `${gateway}/tenants/${tenant}/usage`);
  const cookiesLeft = await cookies();
  await page.goBack(); // to the page that the code came back to
  const back = { text: await page.textContent("body"), status: (await page.goto(`${gateway}/tenants/${tenant}/usage`)).status() };
  await page.goto(out.issuer_logout);
  const landedOut = page.url();
  await page.goto(`${gateway}/signin/${tenant}`);
  const askedAgain = await page.isVisible("[name=password]");

  const gatewaySaid = (await Promise.all(wire)).filter((each) => each.url.startsWith(`${gateway}/`));
  const tokens = gatewaySaid.filter((each) => /eyJ[\w-]{10,}\.[\w-]+/.test(each.body + JSON.stringify(each.headers))).map((each) => each.url);
  const strangers = [...new Set((await Promise.all(wire)).map((each) => new URL(each.url).origin))].filter(
    (origin) => ![gateway, issuer, ...Object.values(facts.others)].includes(origin),
  );
  return {
    landed, cookie, seenByScripts, chatted, withoutHeader, others, still, againSaid, afterAgain, left, cookiesLeft, back,
    landedOut, askedAgain, tokens, strangers,
  };
});
