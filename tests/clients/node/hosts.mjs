// Acts as a hosts file that maps the names of Meta to graphward, with graphward on port 443.

import net from "node:net";

const { hostname, port } = new URL(process.env.GRAPHWARD);
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...args) {
  const options = Array.isArray(args[0]) ? args[0][0] : args[0];
  if (/\.(facebook|fbsbx)\.com$/.test(options.host)) Object.assign(options, { host: hostname, port });
  return connect.apply(this, args);
};
