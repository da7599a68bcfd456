// The portrait: the bundled one, a chosen or dropped picture, or one from the camera, with the box of its face.

import { post, request, requestJson } from "../api.js";
import { find, hide, show } from "../elements.js";
import { checkSize, explained } from "../failures.js";
import { takePicture } from "./camera.js";
import { FaceBox } from "./face_box.js";

const BUNDLED = "bundled";

/** The portrait that the reader has chosen. */
export class Portrait {
  /** @param {() => object | null} limits gives the limits of the server, null before they are known */
  constructor(limits) {
    this.limits = limits;
    this.portrait = null;
    this.picture = null;
    this.moved = null;
    this.newest = 0;
    this.loading = Promise.resolve();
    this.faceBox = new FaceBox(find("faces"), (box) => this.#move(box));
    const file = find("picture-file");
    file.addEventListener("change", () => {
      if (file.files[0]) this.use(file.files[0]);
      file.value = "";
    });
    find("use-example-portrait").addEventListener("click", () => this.useBundled());
    find("use-camera").addEventListener("click", async () => {
      const picture = await takePicture();
      find("use-camera").focus();
      if (picture) this.use(picture);
    });
  }

  /** Takes the bundled portrait. */
  useBundled() {
    this.#take("Loading the example…", () => requestJson(`v1/portraits/${BUNDLED}`), () => this.useBundled());
  }

  /** Takes a picture; sends it to the server, which finds the faces. */
  use(file) {
    const send = () => {
      checkSize(file, this.limits());
      return this.#upload(file);
    };
    this.#take("Looking for the face…", send, () => this.use(file));
  }

  /**
   * The id of the portrait, once the server knows its face box.
   * @throws {Failure} if the last one could not be taken
   */
  async ready() {
    await this.loading;
    const box = this.moved;
    if (box) {
      // Nobody can change the bundled portrait, so a copy of it takes the box.
      const changed = this.portrait.id === BUNDLED ? await this.#upload(this.picture) : this.portrait;
      this.portrait = await post(`v1/portraits/${changed.id}`, { face_box: box });
      if (this.moved === box) this.moved = null;
      find("use-example-portrait").hidden = false;
    }
    return this.portrait.id;
  }

  #upload(file) {
    const form = new FormData();
    form.set("image", file, file.name || "portrait.png");
    return requestJson("v1/portraits", { method: "POST", body: form });
  }

  /** Shows what `load` gives, unless the reader has chosen another portrait meanwhile. */
  #take(words, load, again) {
    const turn = ++this.newest;
    hide(find("portrait-failure"));
    find("portrait-state").textContent = words;
    const taking = (async () => {
      const portrait = await load();
      const picture = await (await request(`v1/portraits/${portrait.id}/content`)).blob();
      if (turn === this.newest) await this.#shown(portrait, picture);
    })();
    const failed = (error) => {
      if (turn !== this.newest) return;
      this.#say();
      show(find("portrait-failure"), explained(error), again);
    };
    taking.catch(failed);
    // Without any portrait nothing can be made; an earlier one stays.
    this.loading = taking.catch((error) => {
      if (!this.portrait) throw error;
    });
    this.loading.catch(() => {});
  }

  async #shown(portrait, picture) {
    const image = find("picture");
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(picture);
    await image.decode();
    image.parentElement.style.setProperty("--ratio", String(portrait.width / portrait.height));
    image.alt = portrait.id === BUNDLED ? "The example portrait" : "Your portrait";
    this.portrait = portrait;
    this.picture = picture;
    this.moved = null;
    this.faceBox.show(portrait, portrait.face_box, portrait.faces);
    if (!portrait.face_box) this.moved = { ...this.faceBox.box };
    find("use-example-portrait").hidden = portrait.id === BUNDLED;
    this.#say();
  }

  #say() {
    const { portrait } = this;
    const place = find("portrait-state");
    if (!portrait) place.textContent = "";
    else if (!portrait.faces.length && !portrait.face_box) {
      place.textContent = "No face was found. Move the box onto the face, or draw a new one.";
    } else if (portrait.faces.length > 1) {
      place.textContent = `${portrait.faces.length} faces were found. Choose one; move the box if it does not fit.`;
    } else place.textContent = portrait.id === BUNDLED ? "The example. Or choose your own." : "Move the box if it does not fit the face.";
  }

  #move(box) {
    this.moved = { ...box };
  }
}
