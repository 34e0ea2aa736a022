"use strict";

// The statistics of report/preference.py, which has the sources; a test compares both.

const QUANTILE = 1.959963984540054; // of the normal distribution, for 95 %
const PRIOR_TIES = 1; // so that no strength is infinite

/** Votes [first codec, second codec, preferred one or null] counted by pairs. */
function pairsOf(votes) {
  const codecs = [...new Set(votes.flatMap(([first, second]) => [first, second]))];
  const pairs = [];
  for (const [i, first] of codecs.entries()) {
    for (const second of codecs.slice(i + 1)) {
      const own = votes.filter((vote) => isBetween(vote, first, second));
      if (!own.length) continue;
      const count = (choice) => own.filter((vote) => vote[2] === choice).length;
      const counts = [count(first), count(null), count(second)];
      const preference = wilson(counts[0] + counts[1] / 2, own.length);
      pairs.push({ codecs: [first, second], votes: counts, preference });
    }
  }
  return pairs;
}

function isBetween([a, b], first, second) {
  return (a === first && b === second) || (a === second && b === first);
}

/** A part of all votes with Wilson's 95 % interval: [value, low, high]. */
function wilson(wins, count) {
  const [share, square] = [wins / count, QUANTILE ** 2 / count];
  const middle = share + square / 2;
  const spread = Math.sqrt(square * (share * (1 - share) + square / 4));
  return [share, ...[-1, 1].map((sign) => (middle + sign * spread) / (1 + square))];
}

const logistic = (x) => 1 / (1 + Math.exp(-x));
const sum = (values) => values.reduce((total, value) => total + value, 0);

/** Strengths by Bradley and Terry, the strongest first; [] if they are not defined. */
function strengthsOf(pairs) {
  const codecs = [...new Set(pairs.flatMap((pair) => pair.codecs))];
  const wins = codecs.map(() => codecs.map(() => 0));
  for (const { codecs: names, votes } of pairs) {
    const [i, j] = names.map((name) => codecs.indexOf(name));
    wins[i][j] = votes[0] + (votes[1] + PRIOR_TIES) / 2;
    wins[j][i] = votes[2] + (votes[1] + PRIOR_TIES) / 2;
  }
  if (codecs.length < 3 || !isConnected(wins)) return [];
  const { logOdds, covariance } = bradleyTerry(wins);
  const found = codecs.map((codec, i) => {
    const spread = QUANTILE * Math.sqrt(covariance[i][i]);
    const ends = [logOdds[i], logOdds[i] - spread, logOdds[i] + spread];
    return { codec, logOdds: logOdds[i], preference: ends.map(logistic) };
  });
  return found.sort((a, b) => b.logOdds - a.logOdds);
}

function isConnected(wins) {
  const reached = new Set([0]);
  for (const i of reached) // grows while it is gone through
    for (const [j, count] of wins[i].entries()) if (count) reached.add(j);
  return reached.size === wins.length;
}

/** Logarithms of the strengths, with the mean 0, and their covariance, by Newton. */
function bradleyTerry(wins) {
  const n = wins.length;
  const logOdds = wins.map(() => 0);
  let covariance;
  for (let step = 0; step < 100; step++) {
    const expected = logOdds.map((a) => logOdds.map((b) => logistic(a - b)));
    const votes = wins.map((row, i) => row.map((count, j) => count + wins[j][i]));
    const slope = wins.map(
      (row, i) => sum(row) - sum(votes[i].map((count, j) => count * expected[i][j])),
    );
    const weights = votes.map((row, i) =>
      row.map((count, j) => count * expected[i][j] * expected[j][i]),
    );
    // The information is blind to what all strengths have in common.
    const information = weights.map((row, i) =>
      row.map((weight, j) => (i === j ? sum(row) : 0) - weight + 1 / n),
    );
    covariance = inverse(information).map((row) => row.map((value) => value - 1 / n));
    const steps = covariance.map((row) => sum(row.map((c, j) => c * slope[j])));
    const longest = Math.max(...steps.map(Math.abs));
    for (const [i, own] of steps.entries()) logOdds[i] += own / Math.max(1, longest);
    if (longest < 1e-10) break;
  }
  return { logOdds, covariance };
}

/** The inverse of a symmetric positive definite matrix, by Gauss and Jordan. */
function inverse(matrix) {
  const n = matrix.length;
  const rows = matrix.map((row, i) => [...row, ...row.map((_, j) => Number(i === j))]);
  for (let i = 0; i < n; i++) {
    rows[i] = rows[i].map((value) => value / rows[i][i]);
    for (let k = 0; k < n; k++)
      if (k !== i) rows[k] = rows[k].map((value, j) => value - rows[k][i] * rows[i][j]);
  }
  return rows.map((row) => row.slice(n));
}
