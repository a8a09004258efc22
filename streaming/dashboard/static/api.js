// Requests to the JSON API.

// Sends `body` by POST if there is one. Throws an error with the detail of the problem.
export async function request(path, body) {
  const post = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(`/api/v1/${path}`, body === undefined ? {} : post);
  const content = await response.json();
  if (!response.ok) throw new Error(content.detail || content.title);
  return content;
}
