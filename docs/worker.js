// The search of the site runs in a worker. A browser refuses workers to a page that was opened as a file, so there the same
// script runs in a hidden frame, which has a global object of its own as a worker has.
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      const inside = this.frame.contentWindow;
      inside.postMessage = (data) => this.onmessage?.({ data: structuredClone(data) }); // a worker gets copies
      const script = inside.document.createElement("script");
      script.src = new URL(url, location.href).href;
      this.ready = new Promise((done, failed) => {
        script.onload = done;
        script.onerror = failed;
      });
      inside.document.body.append(script);
    }

    postMessage(data) {
      this.ready.then(
        () => this.frame.contentWindow?.onmessage({ data: structuredClone(data) }),
        (error) => this.onerror?.(error),
      );
    }

    terminate() {
      this.frame.remove();
    }
  };
}
