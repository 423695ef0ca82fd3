// Small charts of the last minutes: one canvas, a few series, no library.

const SAMPLES = 180; // 3 minutes at one a second
const FEWEST = 30; // that the width stands for: the chart of a page just opened grows from half a minute to all
const style = getComputedStyle(document.documentElement);
const colour = (name) => style.getPropertyValue(`--${name}`).trim() || name;

export class Chart {
  /** series: [{ colour, fill, bars }]; about: "zero" puts 0 in the middle, else it is the floor; least: smallest span. */
  constructor(canvas, series, { about = "floor", least = 1 } = {}) {
    Object.assign(this, { canvas, series, about, least });
    this.history = series.map(() => []);
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** One value per series; null leaves a gap. */
  add(values) {
    values.forEach((value, k) => {
      this.history[k].push(Number.isFinite(value) ? value : null);
      if (this.history[k].length > SAMPLES) this.history[k].shift();
    });
    this.canvas.dataset.samples = this.history[0].length;
    this.draw();
  }

  draw() {
    const { canvas } = this, ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    if (!width) return;
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const [low, high] = this.range(), y = (value) => 2 + (height - 4) * (1 - (value - low) / (high - low));
    const shown = Math.max(FEWEST, this.history[0].length), step = width / (shown - 1), x = (k, count) => width - (count - 1 - k) * step;
    this.rules(pen, width, low, high, y);
    this.series.forEach((series, k) => {
      const values = this.history[k];
      pen.strokeStyle = pen.fillStyle = colour(series.colour);
      if (series.bars) this.bars(pen, values, x, y, step); else this.line(pen, values, x, y, series.fill);
    });
  }

  range() {
    const all = this.history.flat().filter((value) => value !== null);
    if (this.about === "zero") {
      const reach = round(Math.max(this.least, ...all.map(Math.abs)));
      return [-reach, reach];
    }
    return [0, round(Math.max(this.least, ...all))];
  }

  rules(pen, width, low, high, y) {
    pen.strokeStyle = colour("line"); pen.lineWidth = 1;
    pen.font = "10px system-ui, sans-serif"; pen.fillStyle = "#66737e";
    for (const value of new Set([low, (low + high) / 2, high])) {
      const level = Math.round(y(value)) + 0.5;
      pen.beginPath(); pen.moveTo(0, level); pen.lineTo(width, level); pen.stroke();
    }
    pen.fillText(short(high), 2, 12);
  }

  line(pen, values, x, y, fill) {
    pen.lineWidth = 1.5; pen.lineJoin = "round";
    for (const run of runs(values)) {
      pen.beginPath();
      run.forEach(([k, value], n) => (n ? pen.lineTo(x(k, values.length), y(value)) : pen.moveTo(x(k, values.length), y(value))));
      if (run.length === 1) pen.arc(x(run[0][0], values.length) - 1, y(run[0][1]), 1, 0, 7);
      pen.stroke();
      if (!fill || run.length < 2) continue;
      pen.lineTo(x(run.at(-1)[0], values.length), y(0)); pen.lineTo(x(run[0][0], values.length), y(0));
      pen.globalAlpha = 0.09; pen.fill(); pen.globalAlpha = 1;
    }
  }

  bars(pen, values, x, y, step) {
    values.forEach((value, k) => {
      if (value) pen.fillRect(x(k, values.length) - step, y(value), Math.max(1, step - 0.5), y(0) - y(value));
    });
  }
}

/** Stretches of values without a gap, as [index, value]. */
function runs(values) {
  const found = [];
  values.forEach((value, k) => {
    if (value === null) return;
    if (k > 0 && values[k - 1] !== null) found.at(-1).push([k, value]); else found.push([[k, value]]);
  });
  return found;
}

/** The next of 1, 2, 3, 5 times a power of ten: scales that do not jump with every sample. */
function round(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * [1, 2, 3, 5, 10].find((factor) => factor * power >= value * 0.999);
}

const short = (value) => (value >= 1000 ? `${value / 1000}k` : String(Number(value.toPrecision(3))));
