// What a program in TypeScript reads in the document. Compiled, never run.
import type { components, operations, paths } from "./cloister";

type Chat = paths["/tenants/{tenant}/v1/chat/completions"]["post"];
type Answer = Chat["responses"][200]["content"]["application/json"];

export const tenant: Chat["parameters"]["path"] = { tenant: "acme" };
export const asked: Chat["requestBody"]["content"]["application/json"] = {
  model: "demo",
  messages: [{ role: "user", content: "hi" }],
  seed: 7, // passes through
};
export const said = (answer: Answer): string | null | undefined => answer.choices[0].message.content;

export const pool: components["schemas"]["Pool"] = {
  name: "demo",
  targets: [{ engine: "openai_compatible", name: "first", url: "http://10.0.0.7:8000/v1" }],
};
// @ts-expect-error  There is no such engine.
export const wrong: components["schemas"]["Pool"]["targets"][number] = { engine: "steam", name: "first" };

type Listed = operations["list_models"]["responses"][200]["content"]["application/json"];
export const names = (listed: Listed): string[] => listed.data.map((model) => model.id);
