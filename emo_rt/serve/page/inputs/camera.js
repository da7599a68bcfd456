// Takes a picture with the camera.

import { find, happens, hide, make, show } from "../elements.js";
import { checkDevices, deviceFailure } from "../failures.js";

/** Opens the camera; gives the picture as a JPEG, or null if the reader leaves. */
export async function takePicture() {
  const dialog = find("camera");
  const video = find("camera-video");
  const take = find("take");
  hide(find("camera-failure"));
  take.disabled = true;
  dialog.returnValue = "";
  dialog.showModal();
  find("leave-camera").onclick = () => dialog.close("");
  take.onclick = () => dialog.close("taken");
  const closed = happens(dialog, "close");
  const starting = start(video).then(
    (stream) => {
      take.disabled = false;
      if (dialog.open) take.focus();
      return stream;
    },
    (error) => show(find("camera-failure"), deviceFailure(error, "camera")),
  );
  await closed;
  try {
    return dialog.returnValue === "taken" ? await still(video) : null;
  } finally {
    (await starting)?.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }
}

async function start(video) {
  checkDevices("camera");
  const stream = await navigator.mediaDevices.getUserMedia({
    video: { facingMode: "user", width: { ideal: 1280 }, height: { ideal: 960 } },
  });
  video.srcObject = stream;
  await video.play();
  return stream;
}

async function still(video) {
  const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
