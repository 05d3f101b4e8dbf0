# Prints the configuration of a web server in one process, which serves ./tree at a socket in this directory.
cat <<-END
	daemon off;
	master_process off;
	user root;
	pid nginx.pid;
	error_log error.log crit;
	events { worker_connections 64; }
	http {
	    log_format combined_without_time '\$request \$status \$body_bytes_sent';
	    access_log access.log combined_without_time;
	    client_body_temp_path body;
	    proxy_temp_path proxy;
	    fastcgi_temp_path fastcgi;
	    uwsgi_temp_path uwsgi;
	    scgi_temp_path scgi;
	    sendfile on;
	    gzip on;
	    gzip_types text/plain;
	    server {
	        listen 127.0.0.1:7080;
	        root tree;
	        autoindex on;
	    }
	}
END
