// Draws a training's losses on a canvas: raw faint, smoothed on top; the keeping term on its own scale.

const CURVES = [
  { column: 0, name: "instance", color: "#4c8dff" },
  { column: 1, name: "prior", color: "#ff9f43" },
  { column: 2, name: "regularization", color: "#2ec4a6", ownScale: true },
];
const MARGIN = { left: 38, right: 8, top: 18, bottom: 16 };
const SMOOTHING_SHARE = 0.05; // of the run
const [MOST_POINTS, MOST_SORTED] = [400, 2000];

export function drawChart(canvas, training, style) {
  const ratio = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  pen.clearRect(0, 0, width, height);
  pen.font = "11px sans-serif";
  const box = {
    x: MARGIN.left,
    y: MARGIN.top,
    width: width - MARGIN.left - MARGIN.right,
    height: height - MARGIN.top - MARGIN.bottom,
  };
  const curves = CURVES.map((curve) => ({ ...curve, values: training.rows.map((row) => row[curve.column]) })).filter(
    (curve) => curve.values.some((value) => value > 0),
  );
  const top = highest(curves.filter((curve) => !curve.ownScale));
  drawAxes(pen, box, top, training.steps, style);
  curves.forEach((curve, index) => {
    const scale = curve.ownScale ? Math.max(...thinned(curve.values, MOST_SORTED), curve.values.at(-1)) : top;
    drawLine(pen, box, curve.values, scale, training.steps, curve.color, 0.25, 1);
    drawLine(pen, box, smoothed(curve.values, training.steps), scale, training.steps, curve.color, 1, 2);
    const x = box.x + 4 + 76 * index;
    pen.fillStyle = curve.color;
    pen.fillRect(x, 4, 8, 8);
    pen.fillStyle = style.text;
    pen.fillText(curve.ownScale ? `${curve.name} (max ${short(scale)})` : curve.name, x + 12, 12);
  });
}

// The 98th percentile of many values: one spike at t near 0 would flatten everything else.
function highest(curves) {
  const values = Float32Array.from(curves.flatMap((curve) => thinned(curve.values, MOST_SORTED))).sort();
  return values[values.length < 100 ? values.length - 1 : Math.floor(0.98 * (values.length - 1))] || 1;
}

function thinned(values, most) {
  const stride = Math.max(1, Math.ceil(values.length / most));
  return values.filter((_, index) => index % stride === 0);
}

function drawAxes(pen, box, top, steps, style) {
  pen.strokeStyle = pen.fillStyle = style.faint;
  pen.lineWidth = 1;
  pen.beginPath();
  for (const share of [0, 0.5, 1]) {
    const y = Math.round(box.y + box.height * (1 - share)) + 0.5;
    pen.moveTo(box.x, y);
    pen.lineTo(box.x + box.width, y);
    pen.textAlign = "right";
    pen.fillText(short(top * share), box.x - 4, y + 4);
  }
  pen.stroke();
  pen.textAlign = "left";
  pen.fillText("0", box.x, box.y + box.height + 13);
  pen.textAlign = "right";
  pen.fillText(`${steps} steps`, box.x + box.width, box.y + box.height + 13);
  pen.textAlign = "left";
}

function drawLine(pen, box, values, top, steps, color, opacity, lineWidth) {
  const stride = Math.max(1, Math.ceil(values.length / MOST_POINTS));
  pen.save();
  pen.globalAlpha = opacity;
  pen.strokeStyle = color;
  pen.lineWidth = lineWidth;
  pen.beginPath();
  for (let i = 0; i < values.length; i += stride) {
    const x = box.x + (box.width * (i + 1)) / steps;
    const y = box.y + box.height * (1 - Math.min(1, values[i] / top));
    if (i === 0) pen.moveTo(x, y);
    else pen.lineTo(x, y);
  }
  pen.stroke();
  pen.restore();
}

// Exponential mean over a twentieth of the run, without the pull of its start.
export function smoothed(values, steps) {
  const keep = 1 - 1 / Math.max(1, SMOOTHING_SHARE * steps);
  let [mean, weight] = [0, 0];
  return values.map((value) => {
    mean = keep * mean + (1 - keep) * value;
    weight = keep * weight + (1 - keep);
    return mean / weight;
  });
}

export function short(value) {
  if (value === 0) return "0";
  return value >= 0.01 ? value.toFixed(2) : value.toExponential(1);
}
