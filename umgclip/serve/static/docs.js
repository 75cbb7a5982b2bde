// The page at /docs: openapi.json in a readable form. Generators and other viewers read the file itself.

const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
const code = (textContent) => make("code", { textContent });

let schemas = {};
const named = new Set();

function type(schema) {
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    named.add(name);
    return name;
  }
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.map(type).join(" or ");
  if (schema.type !== "array") return schema.format || schema.type || "anything";
  if (schema.prefixItems) return `[${schema.prefixItems.map(type).join(", ")}]`;
  return `list of ${type(schema.items || {})}`;
}

function fields(name) {
  const schema = schemas[name], body = make("tbody");
  for (const [field, value] of Object.entries(schema.properties || {})) {
    const needed = (schema.required || []).includes(field) ? "" : " (optional)";
    body.append(make("tr", {}, make("th", { scope: "row" }, code(field)),
      make("td", { textContent: type(value) + needed }), make("td", { textContent: value.description || "" })));
  }
  return make("section", { id: `schema-${name}` }, make("h3", { textContent: name }),
    make("p", { textContent: (schema.description || "").replaceAll("`", "") }), make("table", {}, body));
}

function example({ summary, value }, path) {
  const body = JSON.stringify(value);
  const command = `curl -s ${new URL(path.slice(1), document.baseURI)} -H 'Content-Type: application/json' -d '${body}'`;
  return make("details", {}, make("summary", { textContent: summary }), make("pre", { tabIndex: 0, textContent: command }));
}

function operation(path, method, { summary, requestBody, responses, security }) {
  const node = make("article", {}, make("h2", {}, code(`${method.toUpperCase()} ${path}`)),
    make("p", { textContent: summary + (security ? ". Requires an API key." : "") }));
  for (const content of Object.values(requestBody?.content || {})) {
    node.append(make("p", { textContent: `Body: ${type(content.schema)}` }));
    for (const one of Object.values(content.examples || {})) node.append(example(one, path));
  }
  const body = make("tbody");
  for (const [status, { description, content }] of Object.entries(responses)) {
    const schema = content?.["application/json"]?.schema;
    body.append(make("tr", {}, make("th", { scope: "row" }, code(status)),
      make("td", { textContent: description }), make("td", { textContent: schema ? type(schema) : "" })));
  }
  node.append(make("h3", { textContent: "Answers" }), make("table", {}, body));
  return node;
}

const target = document.getElementById("description");
try {
  const described = await (await fetch("openapi.json")).json();
  schemas = described.components.schemas;
  for (const line of described.info.description.split("\n\n")) {
    target.append(make("p", { textContent: line.replaceAll("`", "") }));
  }
  for (const [path, methods] of Object.entries(described.paths)) {
    for (const [method, one] of Object.entries(methods)) target.append(operation(path, method, one));
  }
  const shown = new Set();
  const kinds = make("article", {}, make("h2", { textContent: "Types" }));
  for (const name of named) { // grows, because types refer to others
    if (shown.has(name) || !schemas[name]) continue;
    shown.add(name);
    kinds.append(fields(name));
  }
  target.append(kinds);
} catch (error) {
  target.append(make("p", { role: "alert", textContent: `openapi.json cannot be read: ${error.message}` }));
}
