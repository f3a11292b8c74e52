// Everything that is fetched; addresses are relative, so that a static copy works in any folder.

const kept = new Map();
const KEPT = 400;

async function problem(response) {
  const type = response.headers.get("content-type") || "";
  const message = type.includes("json") ? (await response.json()).error : null;
  if (message) return new Error(message);
  if (response.status === 404)
    return new Error("This page has no such data. A static page may hold fewer genes than its map.");
  return new Error(`The server answered ${response.status}; its terminal says why.`);
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch {
    throw new Error("The server does not answer any more. Start grape-ops explore again, then load this page anew.");
  }
  if (!response.ok) throw await problem(response);
  return response;
}

function keep(address, make) {
  let promise = kept.get(address);
  if (promise) kept.delete(address); // and to the end again: the first is the one longest unused
  else {
    promise = make();
    promise.catch(() => kept.delete(address)); // what failed may be asked again
  }
  kept.set(address, promise);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return promise;
}

export const json = (address) => keep(address, async () => (await ask(address)).json());
export const post = async (address, body) =>
  (
    await ask(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) })
  ).blob();

/** A picture as grey values: { width, height, grey }. */
export const picture = (address) => keep(address, () => decode(address));

async function decode(address) {
  const blob = await (await ask(address)).blob();
  const image = await createImageBitmap(blob);
  const { width, height } = image;
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) grey[i] = rgba[4 * i];
  return { width, height, grey };
}
