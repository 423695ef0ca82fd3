// Reads the MJPEG stream and draws each picture; the newest wins when the browser is too slow for all of them.

const END_OF_HEAD = [13, 10, 13, 10];

/** Splits a multipart stream into JPEGs by the Content-Length of each part. */
class Parts {
  constructor(onPart) { this.onPart = onPart; this.head = ""; this.body = null; this.filled = 0; this.matched = 0; }

  take(chunk) {
    let at = 0;
    while (at < chunk.length) {
      if (this.body === null) {
        const byte = chunk[at++];
        this.head += String.fromCharCode(byte);
        this.matched = byte === END_OF_HEAD[this.matched] ? this.matched + 1 : Number(byte === 13);
        if (this.matched === 4) this.begin();
        else if (this.head.length > 4096) throw new Error("not a stream of pictures");
      } else {
        const count = Math.min(this.body.length - this.filled, chunk.length - at);
        this.body.set(chunk.subarray(at, at + count), this.filled);
        this.filled += count; at += count;
        if (this.filled === this.body.length) { this.onPart(this.body); this.body = null; }
      }
    }
  }

  begin() {
    const length = /content-length: (\d+)/i.exec(this.head);
    if (!length) throw new Error("a picture without its length");
    this.body = new Uint8Array(Number(length[1])); this.filled = 0; this.head = ""; this.matched = 0;
  }
}

/** Keeps the stream open while it is wanted. tell(text): what to show instead of a picture; null: all is well. */
export class Stream {
  constructor(canvas, { onSize, tell, onToken }) {
    Object.assign(this, { canvas, onSize, tell, onToken });
    this.context = canvas.getContext("2d", { alpha: false });
    this.wanted = false; this.shown = 0; this.lastAt = 0; this.busy = false; this.next = null; this.abort = null; this.running = null;
  }

  start() {
    this.wanted = true;
    if (!this.running) this.running = this.keepOpen().finally(() => { this.running = null; });
  }

  stop() { this.wanted = false; this.abort?.abort(); }

  /** Open it anew: the pictures have stopped though the run goes on. */
  restart() { this.abort?.abort(); }

  async keepOpen() {
    for (let wait = 500; this.wanted; wait = Math.min(wait * 2, 5000)) {
      const before = this.shown;
      try { await this.read(); } catch (error) { if (this.wanted && error.name !== "AbortError") this.tell(error.message); }
      if (this.shown > before) wait = 500;
      if (this.wanted) await new Promise((done) => setTimeout(done, wait));
    }
  }

  async read() {
    this.abort = new AbortController();
    let answer;
    try { answer = await fetch("/stream", { cache: "no-store", signal: this.abort.signal }); }
    catch (error) { throw error.name === "AbortError" ? error : new Error("No connection to the run"); }
    if (answer.status === 401) { this.stop(); this.onToken(); return; }
    if (!answer.ok) throw new Error((await answer.text()).trim());
    const parts = new Parts((jpeg) => this.show(jpeg)), reader = answer.body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("The stream has ended");
      parts.take(value);
    }
  }

  async show(jpeg) {
    if (this.busy) { this.next = jpeg; return; }
    this.busy = true;
    for (let data = jpeg; data; data = this.next) {
      this.next = null;
      try { this.draw(await createImageBitmap(new Blob([data], { type: "image/jpeg" }))); }
      catch (error) { console.warn("a picture that cannot be shown", error); }
    }
    this.busy = false;
  }

  draw(bitmap) {
    const { canvas } = this;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      canvas.width = bitmap.width; canvas.height = bitmap.height;
      this.onSize(bitmap.width, bitmap.height);
    }
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.shown += 1; this.lastAt = performance.now();
    canvas.dataset.shown = this.shown;
    this.tell(null);
  }
}
