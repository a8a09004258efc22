// Requests to the JSON API.

// Sends `body` by POST if there is one. Throws an error with the detail of the problem.
export async function send(path, body) {
  const post = {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  const response = await fetch(`/api/v1/${path}`, body === undefined ? {} : post);
  if (response.ok) return response;
  const problem = await response.json();
  throw new Error(problem.detail || problem.title);
}

export async function request(path, body) {
  const response = await send(path, body);
  return response.json();
}
