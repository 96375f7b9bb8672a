import {
  type ApiAnswer,
  type ApiDescription,
  type ApiOperation,
  type ApiSchema,
  referredName,
} from "./document.ts";
import { type Html, html, inline, markdown } from "./html.ts";
import { fieldsOf, fieldTable, schemaSection, typeOf } from "./reference-schemas.ts";
import { sampleOf } from "./sample.ts";

/**
 * Writes the description as a page for people: each operation with who may call it, what it takes and gives, and a call by curl.
 * It is one page without scripts, so that it works offline, on a phone and under the strictest policy, and is searched by the
 * browser's own search. The packages that show such descriptions are megabytes of script, and want inline styles.
 */
export function referencePage(api: ApiDescription): string {
  const operations = operationsOf(api);
  const tags = api.tags.map((tag) => ({
    ...tag,
    operations: operations.filter(({ operation }) => operation.tags.includes(tag.name)),
  }));
  const { title, version, description } = api.info;
  const page = html`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${title}: API reference</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/reference.css">
<header><h1>${title}</h1><p>API reference, ${version}. <a href="/openapi.json">OpenAPI 3.1</a> · <a href="/">Console</a></p></header>
<nav aria-label="Operations">
${tags.map(
  (tag) => html`<details><summary>${tag.name}</summary><ul>${tag.operations.map(operationLink)}</ul></details>
`,
)}<p><a href="#schemas">Schemas</a></p>
</nav>
<main>
<section aria-label="About">${markdown(description)}</section>
${tags.map(
  (tag) => html`<section id="${tag.name}"><h2>${tag.name}</h2>${markdown(tag.description)}
${tag.operations.map((placed) => operationSection(placed, api))}</section>
`,
)}<section id="schemas"><h2>Schemas</h2>
${Object.entries(api.components.schemas).map(([name, schema]) => schemaSection(name, schema))}
</section>
</main>
</html>
`;
  return page.text;
}

/** An operation and where it is. */
interface PlacedOperation {
  readonly path: string;
  readonly verb: string;
  readonly operation: ApiOperation;
}

function operationsOf({ paths }: ApiDescription): PlacedOperation[] {
  return Object.entries(paths).flatMap(([path, verbs]) =>
    Object.entries(verbs).map(([verb, operation]) => ({ path, verb: verb.toUpperCase(), operation })),
  );
}

function operationLink({ path, verb, operation }: PlacedOperation): Html {
  return html`<li><a href="#${operation.operationId}"><b class="${verb}">${verb}</b> ${path}</a></li>`;
}

function operationSection(placed: PlacedOperation, api: ApiDescription): Html {
  const { path, verb, operation } = placed;
  const { operationId, summary, description = "", parameters = [], requestBody } = operation;
  const fields = parameters.map(({ name, in: place, required, schema, description: text }) => ({
    name,
    schema,
    description: text,
    mark: required === true ? `${place}, required` : place,
  }));
  const body = Object.entries(requestBody?.content ?? {});
  return html`<article id="${operationId}"><h3><b class="${verb}">${verb}</b> ${path}</h3>
<p>${inline(summary)}.</p>${markdown(description)}
<p>Who may call: ${callersOf(operation)}.</p>
${fields.length > 0 && html`<h4>Parameters</h4>${fieldTable(fields)}`}
${body.map(([type, { schema }]) => html`<h4>Body: ${type}, ${typeOf(schema)}</h4>${fieldsOf(schema)}`)}
<h4>Answers</h4><table>${Object.entries(operation.responses).map(([status, answer]) => answerRow(status, answer, api))}</table>
<pre tabindex="0">${curlOf(placed, api.components.schemas)}</pre></article>
`;
}

function callersOf({ security, "x-roles": roles }: ApiOperation): string {
  return security.length === 0 ? "anybody, without a credential" : roles.join(", ");
}

function answerRow(status: string, answer: ApiAnswer, { components }: ApiDescription): Html {
  const known =
    answer.$ref === undefined ? answer : (components.responses[referredName(answer.$ref)] ?? answer);
  const contents = Object.entries(known.content ?? {}).map(
    ([type, { schema }]) => html` ${schema.$ref === undefined ? type : typeOf(schema)}`,
  );
  return html`<tr><th scope="row"><code>${status}</code></th><td>${inline(known.description ?? "")}${contents}</td></tr>`;
}

function curlOf(
  { path, verb, operation }: PlacedOperation,
  schemas: Readonly<Record<string, ApiSchema>>,
): string {
  const { parameters = [], requestBody, security } = operation;
  const place = path.replaceAll(
    /\{(\w+)\}/g,
    (_, name: string) => `$${name.replaceAll(/[A-Z]/g, "_$&").toUpperCase()}`,
  );
  const query = parameters
    .filter((parameter) => parameter.in === "query" && parameter.required === true)
    .map(({ name, schema }) => `${name}=${encodeURIComponent(String(sampleOf(schema, schemas)))}`);
  const [type, body] = Object.entries(requestBody?.content ?? {})[0] ?? [];
  const lines = [
    `curl${verb === "GET" ? "" : ` -X ${verb}`} "$SERVICE${place}${query.length > 0 ? `?${query.join("&")}` : ""}"`,
    ...(security.length === 0 ? [] : ['-H "Authorization: Bearer $TOKEN"']),
    ...(type === undefined ? [] : [`-H 'Content-Type: ${type}'`]),
    ...(body === undefined ? [] : [bodyOf(type === "application/json", body.schema, schemas)]),
  ];
  return lines.join(" \\\n  ");
}

function bodyOf(isJson: boolean, schema: ApiSchema, schemas: Readonly<Record<string, ApiSchema>>): string {
  if (!isJson) return "--data-binary @file";
  const json = JSON.stringify(sampleOf(schema, schemas)) ?? "{}";
  return `-d '${json.replaceAll("'", "'\\''")}'`;
}
