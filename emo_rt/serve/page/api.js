// Talks to the server. The token, if the server asks for one, stays in the memory of this page.

import { Failure, noAnswer, refused } from "./failures.js";

let token = "";
let asking = null;
/** Asks the reader for a token: a function that takes whether the last one was wrong and gives the new one or null. */
let ask = async () => null;

/** Says how the reader is asked for a token. */
export function askWith(question) {
  ask = question;
}

/** Whether the server took a token from this page: links then do not work by themselves. */
export function guarded() {
  return token !== "";
}

/** The address of a path of the server; the page may lie below another address. */
export function address(path) {
  return new URL(path, document.baseURI);
}

/**
 * Sends a request and gives the answer. A missing or wrong token is asked for.
 * @param {string} path such as "v1/videos"
 * @param {RequestInit} [options] as `fetch` takes them
 * @returns {Promise<Response>} an answer that is no refusal
 * @throws {Failure} in words
 */
export async function request(path, options = {}) {
  for (;;) {
    const used = token;
    const response = await send(path, options, used);
    if (response.ok) return response;
    if (response.status !== 401) throw await refused(response);
    if (token === used && !(await newToken(used !== ""))) {
      throw new Failure("The server asks for a token. Reload the page when you have it.", { status: 401 });
    }
  }
}

async function send(path, options, used) {
  const headers = new Headers(options.headers);
  if (used) headers.set("Authorization", `Bearer ${used}`);
  try {
    return await fetch(address(path), { ...options, headers });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw noAnswer();
  }
}

/** Asks once, however many requests wait for the answer. */
async function newToken(wrong) {
  asking ??= ask(wrong).finally(() => (asking = null));
  const given = await asking;
  if (given) token = given;
  return Boolean(given);
}

/** Sends a request and reads the JSON of the answer. */
export async function requestJson(path, options) {
  const response = await request(path, options);
  try {
    return await response.json();
  } catch {
    options?.signal?.throwIfAborted();
    throw noAnswer();
  }
}

/** Sends JSON and reads the JSON of the answer. */
export function post(path, body) {
  return requestJson(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
}

/** Deletes something; what is gone already is no failure. */
export async function remove(path) {
  try {
    await request(path, { method: "DELETE", keepalive: true });
  } catch (error) {
    if (error.status !== 404) throw error;
  }
}
