// The OpenAPI description as a page, from this server only.

const make = (tag, text, ...children) => {
  const element = document.createElement(tag);
  element.textContent = text;
  element.append(...children);
  return element;
};
const described = await (await fetch("openapi.json")).json();
const place = location.origin;
document.getElementById("example").textContent =
  `curl --data-binary @clip.mp4 "${place}/api/jobs?name=clip.mp4&wait=true"    # {"id": "ID", "state": "done", ...}\n`
  + `curl -OJ ${place}/api/jobs/ID/files/frames.csv`;

const named = schema => schema?.$ref?.split("/").pop();
const kind = schema => schema.enum?.join(" | ") ?? schema.const ?? schema.type ?? named(schema) ?? schema.anyOf?.map(kind).join(" or ") ?? "";
const table = rows => {
  const body = make("table", "");
  for (const [name, type, text] of rows) body.append(make("tr", "", make("td", name), make("td", type), make("td", text)));
  const wide = make("div", "", body);
  wide.className = "wide words";
  return wide;
};
const requests = document.getElementById("requests");
for (const [path, methods] of Object.entries(described.paths)) {
  for (const [method, request] of Object.entries(methods)) {
    requests.append(make("h3", `${method.toUpperCase()} ${path}`), make("p", request.description ?? ""));
    const rows = (request.parameters ?? []).map(each => [each.name, kind(each.schema), each.description ?? ""]);
    if (rows.length) requests.append(table(rows));
    const answer = Object.entries(request.responses).find(([code]) => code.startsWith("2"));
    const schema = named(answer[1].content?.["application/json"]?.schema);
    requests.append(make("p", `Answers ${answer[0]}${schema ? ` with ${schema}` : ""}.`));
  }
}
requests.append(make("h2", "What comes back"));
for (const [name, schema] of Object.entries(described.components.schemas)) {
  if (name.includes("ValidationError")) continue;
  requests.append(make("h3", name), table(Object.entries(schema.properties).map(([key, each]) => [key, kind(each), each.description ?? ""])));
}
