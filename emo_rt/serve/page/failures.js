// What can go wrong, in plain words and with what to do.

/** An error whose message is for the reader of the page. */
export class Failure extends Error {
  /**
   * @param {string} message what happened and what to do
   * @param {{status?: number, retryAfter?: number, said?: string | null, passing?: boolean}} [facts] status of the answer;
   *   seconds after which to try again; what the server said itself; whether the same may work later
   */
  constructor(message, { status = 0, retryAfter = 0, said = null, passing = [401, 429].includes(status) || status >= 500 } = {}) {
    super(message);
    this.said = said;
    this.status = status;
    this.retryAfter = retryAfter;
    this.passing = passing;
  }
}

/** No answer came at all. */
export function noAnswer() {
  return new Failure("The server does not answer. Check that it is running and that you are online, then try again.", {
    passing: true,
  });
}

/** A time in words: "12 s", "3 min". */
export function inWords(seconds) {
  const whole = Math.max(1, Math.ceil(seconds));
  return whole < 100 ? `${whole} s` : `${Math.round(whole / 60)} min`;
}

/** The failure that an answer tells of. The server's own line names the input and says what to do. */
export async function refused(response) {
  const { status } = response;
  const retryAfter = Number(response.headers.get("Retry-After")) || 0;
  const said = await response.json().then((body) => body?.error?.message, () => null);
  return new Failure(words(status, said, retryAfter), { status, retryAfter, said: said && sentence(said) });
}

function words(status, said, retryAfter) {
  const later = retryAfter ? `Try again in ${inWords(retryAfter)}.` : "Try again in a minute.";
  if (status === 401) return "The server asks for a token.";
  if (status === 413) return sentence(said ?? "The file is too large for this server. Choose a smaller one.");
  if (status === 415) return sentence(said ?? "This kind of file cannot be read. Choose another one.");
  if (status === 429) return `${sentence(said ?? "you asked too often")} ${later}`;
  if (status === 503) return `${sentence(said ?? "the server is busy")} ${later}`;
  if (status === 404 && !said) return "The server no longer has this. It may have been deleted or have expired.";
  if (said) return sentence(said);
  if (status >= 502) return `The server cannot be reached just now. ${later}`;
  return `The server failed (${status}). Try again; if it stays so, ask the person who runs the server.`;
}

/** A line of the server as a sentence: it begins with a capital and ends with a full stop. */
export function sentence(line) {
  const text = line.trim();
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? "" : "."}`;
}

/** Refuses a file that the server would refuse, before it is sent. */
export function checkSize(file, limits) {
  const most = limits?.max_upload_bytes;
  if (most && file.size > most) {
    throw new Failure(`${file.name || "The file"} has ${megabytes(file.size)}; this server takes at most ${megabytes(most)}. Choose a smaller file.`);
  }
}

function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
}

/** Checks that the browser gives devices to this page at all. */
export function checkDevices(device) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new Failure(
      `A browser gives the ${device} only to pages on https or on localhost. Open this page at http://localhost, or put https in front of the server.`,
    );
  }
}

/** Why the browser did not give a device, "camera" or "microphone". */
export function deviceFailure(error, device) {
  if (error instanceof Failure) return error;
  const other = device === "camera" ? "choose a picture" : "choose a sound file";
  switch (error?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new Failure(`The browser may not use the ${device}. Allow it in the address bar or in the settings of the browser, then try again; or ${other}.`);
    case "NotFoundError":
    case "OverconstrainedError":
      return new Failure(`There is no ${device}. Connect one and try again; or ${other}.`);
    case "NotReadableError":
    case "AbortError":
      return new Failure(`The ${device} is in use. Close the other program that uses it and try again; or ${other}.`);
    default:
      return new Failure(`The ${device} does not work (${error?.message ?? error}). Try again; or ${other}.`);
  }
}

/** The line for anything that was thrown. */
export function explained(error) {
  return error instanceof Failure ? error : new Failure(`Something went wrong in this page: ${error?.message ?? error}. Reload it and try again.`);
}
