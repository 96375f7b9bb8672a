#!/usr/bin/python3
"""A real S3-compatible server for the object store's tests: OpenStack Swift with its S3 API, in one process.

usage: s3-swift.py DIR PORT ACCESS SECRET

Needs only Debian's package python3-swift and no privileges. Listens on loopback; PORT 0 picks a free one. ACCESS must
look like account:user. Prints 'ready http://127.0.0.1:PORT' once it serves, and stops on SIGTERM. Data stays in DIR.

Swift usually is a dozen services and a memcached. Here its account, container, object and proxy servers are WSGI
applications of one eventlet process, each on a port of its own, with a ring of one device between them."""
import eventlet, eventlet.wsgi, json, os, signal, sys, time
eventlet.monkey_patch(thread=False)
from swift.common import utils
D, PORT, ACCESS, SECRET = os.path.abspath(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
ETC, NODE = D + '/etc', D + '/node'
os.makedirs(ETC, exist_ok=True); os.makedirs(NODE + '/d1', exist_ok=True)
def write(name, text):
    with open('%s/%s' % (ETC, name), 'w') as f:
        f.write(text)
write('swift.conf', '[swift-hash]\nswift_hash_path_suffix = test\n'
      '[storage-policy:0]\nname = gold\ndefault = yes\n'
      '[swift-constraints]\nmax_file_size = 5368709122\n')
utils.get_logger.console_handler4logger = {}   # every Swift logger: warnings to stderr
utils.set_swift_dir(ETC)                 # before the imports below: they read swift.conf
utils.validate_configuration()
from swift.common import storage_policy, wsgi
from swift.common.ring import RingBuilder
from swift.common.middleware.s3api.controllers import multi_upload
storage_policy.reload_storage_policies()
os.environ['TZ'] = 'UTC+0'; time.tzset(); os.umask(0o22)
# Swift 2.30 takes an empty "delimiter=" (which the minio client sends) for a delimiter; S3 takes it for none.
_list = multi_upload.UploadsController.GET
def list_uploads(self, req):
    if req.params.get('delimiter') == '':
        req.params = {k: v for k, v in req.params.items() if k != 'delimiter'}
    return _list(self, req)
for a, v in vars(_list).items(): setattr(list_uploads, a, v)
multi_upload.UploadsController.GET = list_uploads

COMMON = '[DEFAULT]\nswift_dir = %s\ndevices = %s\nmount_check = false\nlog_level = WARNING\nlog_address = /nonexistent\n' \
         'fallocate_reserve = 0\ndisable_fallocate = true\n' % (ETC, NODE)
socks = {}
for kind in ('account', 'container', 'object'):
    socks[kind] = eventlet.listen(('127.0.0.1', 0), backlog=1024)
    b = RingBuilder(2, 1, 1)
    b.add_dev({'id': 0, 'region': 1, 'zone': 1, 'weight': 1.0, 'ip': '127.0.0.1', 'device': 'd1', 'meta': '',
               'port': socks[kind].getsockname()[1]})
    b.rebalance(); b.get_ring().save('%s/%s.ring.gz' % (ETC, kind))
    write(kind + '.conf', COMMON + '[pipeline:main]\npipeline = app\n[app:app]\nuse = egg:swift#%s\n'
          'container_update_timeout = 10\n' % kind)
filters = 'catch_errors listing_formats bulk s3api tempauth slo'.split()
write('proxy.conf', COMMON + '[pipeline:main]\npipeline = %s proxy-server\n' % ' '.join(filters)
      + ''.join('[filter:%s]\nuse = egg:swift#%s\n%s' % (f, f, {
          's3api': 'location = us-east-1\nmax_upload_part_num = 10000\n',
          'slo': 'max_manifest_segments = 10000\n',
          'tempauth': 'user_%s = %s .admin\n' % (ACCESS.replace(':', '_'), SECRET)}.get(f, '')) for f in filters)
      + '[app:proxy-server]\nuse = egg:swift#proxy\naccount_autocreate = true\n')
class Cache:                             # what Swift asks of memcached, in this process
    def __init__(self): self.d = {}
    def get(self, key, raise_on_error=False):
        v, end = self.d.get(key, (None, 0))
        return json.loads(v) if v is not None and (not end or end > time.time()) else None
    def set(self, key, value, time=0, **kw): self.d[key] = (json.dumps(value), now() + time if time else 0)
    def delete(self, key, server_key=None): self.d.pop(key, None)
    def incr(self, key, delta=1, time=0):
        n = max(0, int(self.get(key) or 0) + delta); self.set(key, n, time=time); return n
    def decr(self, key, delta=1, time=0): return self.incr(key, -delta, time)
cache, now = Cache(), time.time
def with_cache(app):
    def call(env, start_response):
        env['swift.cache'] = cache
        return app(env, start_response)
    return call
socks['proxy'] = eventlet.listen(('127.0.0.1', PORT), backlog=1024); PORT = socks['proxy'].getsockname()[1]
for kind, sock in socks.items():
    app = wsgi.loadapp('%s/%s.conf' % (ETC, kind), global_conf={'log_name': kind})
    eventlet.spawn(eventlet.wsgi.server, sock, with_cache(app), utils.NullLogger(), protocol=wsgi.SwiftHttpProtocol,
                   capitalize_response_headers=False, socket_timeout=60)
signal.signal(signal.SIGTERM, lambda *a: os._exit(0))
print('ready http://127.0.0.1:%d' % PORT, flush=True)
while True:
    eventlet.sleep(3600)
