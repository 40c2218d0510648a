// Preloaded into the suite's origin, which would listen on every interface: here it listens on loopback.
const net = require('node:net')
const listen = net.Server.prototype.listen
net.Server.prototype.listen = function (port, ...rest) {
  const named = typeof rest[0] === 'string'
  return /^\d+$/.test(String(port)) && !named
    ? listen.call(this, Number(port), '127.0.0.1', ...rest.filter((x) => typeof x === 'function'))
    : listen.call(this, port, ...rest)
}
